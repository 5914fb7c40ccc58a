package conversation_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"codexgateway.dev/pkg/conversation"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

func open(t *testing.T) (*conversation.Store, *docstore.Store) {
	t.Helper()
	schema := docstore.Schema(conversation.Schema())
	docs, err := docstore.New(memstore.New(schema), schema, docstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return conversation.NewStore(docs), docs
}

func save(t *testing.T, docs *docstore.Store, c *conversation.Conversation) error {
	t.Helper()
	writes, err := c.Save()
	if err != nil {
		t.Fatal(err)
	}
	_, err = docs.Commit(t.Context(), writes)
	return err
}

// stored is a conversation of acme that it calls s1.
func stored(t *testing.T) (*conversation.Store, *docstore.Store, *conversation.Conversation) {
	t.Helper()
	s, docs := open(t)
	c := conversation.New("acme", "s1", noon)
	if err := save(t, docs, c); err != nil {
		t.Fatal(err)
	}
	return s, docs, c
}

// What is another tenant's looks exactly like what never was.
func TestWhoFindsAConversation(t *testing.T) {
	t.Parallel()
	s, _, c := stored(t)
	for name, tc := range map[string]struct {
		get   func() (*conversation.Conversation, error)
		found bool
	}{
		"its tenant":      {func() (*conversation.Conversation, error) { return s.Get(t.Context(), "acme", c.ID) }, true},
		"another tenant":  {func() (*conversation.Conversation, error) { return s.Get(t.Context(), "other", c.ID) }, false},
		"no such id":      {func() (*conversation.Conversation, error) { return s.Get(t.Context(), "acme", id.New(id.Conversation)) }, false},
		"an id of a job":  {func() (*conversation.Conversation, error) { return s.Get(t.Context(), "acme", id.New(id.Job)) }, false},
		"no id":           {func() (*conversation.Conversation, error) { return s.Get(t.Context(), "acme", "../x") }, false},
		"by its name":     {func() (*conversation.Conversation, error) { return s.BySession(t.Context(), "acme", "s1") }, true},
		"another's name":  {func() (*conversation.Conversation, error) { return s.BySession(t.Context(), "other", "s1") }, false},
		"no such name":    {func() (*conversation.Conversation, error) { return s.BySession(t.Context(), "acme", "s2") }, false},
		"a shifted name":  {func() (*conversation.Conversation, error) { return s.BySession(t.Context(), "acmes", "1") }, false},
		"an empty name":   {func() (*conversation.Conversation, error) { return s.BySession(t.Context(), "acme", "") }, false},
		"an empty tenant": {func() (*conversation.Conversation, error) { return s.Get(t.Context(), "", c.ID) }, false},
	} {
		got, err := tc.get()
		if tc.found && (err != nil || got.ID != c.ID || got.SessionID != "s1" || !got.CreatedAt.Equal(noon)) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if !tc.found && errs.CodeOf(err) != errs.NotFound {
			t.Errorf("%s: %v, want not found", name, err)
		}
	}
	_, foreign := s.Get(t.Context(), "other", c.ID)
	_, never := s.Get(t.Context(), "other", id.New(id.Conversation))
	if foreign.Error() != never.Error() {
		t.Errorf("%q and %q tell a foreign conversation from none", foreign, never)
	}
}

// A name leads to one conversation, whoever asks first; and of two that change
// one conversation at once, one must look again.
func TestOneOfTwoWritersWins(t *testing.T) {
	t.Parallel()
	s, docs, c := stored(t)
	twin := conversation.New("acme", "s1", noon)
	if err := save(t, docs, twin); !errors.Is(err, docstore.ErrConflict) {
		t.Errorf("a second conversation of the name: %v, want a conflict", err)
	}
	if _, err := s.Get(t.Context(), "acme", twin.ID); errs.CodeOf(err) != errs.NotFound {
		t.Errorf("the second conversation: %v, want none", err)
	}
	var both [2]*conversation.Conversation
	for i := range both {
		var err error
		if both[i], err = s.Get(t.Context(), "acme", c.ID); err != nil {
			t.Fatal(err)
		}
		if err := both[i].Push(fmt.Sprintf("job_%d", i), noon); err != nil {
			t.Fatal(err)
		}
	}
	if err := save(t, docs, both[0]); err != nil {
		t.Fatal(err)
	}
	if err := save(t, docs, both[1]); !errors.Is(err, docstore.ErrConflict) {
		t.Errorf("the second writer: %v, want a conflict", err)
	}
}

func TestQueueKeepsItsOrder(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		pop  []string
		head string
		left []string
	}{
		"nothing ended":      {nil, "a", []string{"a", "b", "c"}},
		"the first ended":    {[]string{"a"}, "b", []string{"b", "c"}},
		"one that waits":     {[]string{"b"}, "a", []string{"a", "c"}},
		"the last":           {[]string{"c"}, "a", []string{"a", "b"}},
		"all":                {[]string{"b", "a", "c"}, "", []string{}},
		"one twice":          {[]string{"a", "a"}, "b", []string{"b", "c"}},
		"one that never was": {[]string{"x"}, "a", []string{"a", "b", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := conversation.New("acme", "", noon)
			for _, jobID := range []string{"a", "b", "c"} {
				if err := c.Push(jobID, noon); err != nil {
					t.Fatal(err)
				}
			}
			for _, jobID := range tc.pop {
				c.Pop(jobID, nil, noon.Add(time.Second))
				if c.LastJob != jobID {
					t.Errorf("last is %s, want %s", c.LastJob, jobID)
				}
			}
			if c.Head() != tc.head || !slices.Equal(c.Queue, tc.left) {
				t.Errorf("head %q, queue %v; want %q, %v", c.Head(), c.Queue, tc.head, tc.left)
			}
		})
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	c := conversation.New("acme", "", noon)
	for range conversation.MaxQueue {
		if err := c.Push("job", noon); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Push("one more", noon); errs.CodeOf(err) != errs.QuotaExceeded {
		t.Errorf("%v, want quota exceeded", err)
	}
	if len(c.Queue) != conversation.MaxQueue {
		t.Errorf("%d jobs wait after a refused one", len(c.Queue))
	}
}

// A job that leaves no thread, because it failed early, must not take away what
// the one before it left.
func TestThreadStaysWhenAJobLeavesNone(t *testing.T) {
	t.Parallel()
	s, docs := open(t)
	c := conversation.New("acme", "", noon)
	thread := &conversation.Thread{ID: "thr_1", Inline: []byte{0, 1}, RolloutName: "rollout-x.jsonl", Origin: &conversation.Origin{URL: "u", Commit: "c"}}
	c.Pop("job_1", thread, noon)
	c.Pop("job_2", nil, noon)
	if err := save(t, docs, c); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(t.Context(), "acme", c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Thread == nil || got.Thread.ID != "thr_1" || string(got.Thread.Inline) != "\x00\x01" || *got.Thread.Origin != *thread.Origin {
		t.Errorf("thread %+v, want the first job's", got.Thread)
	}
}
