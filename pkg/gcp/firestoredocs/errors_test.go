package firestoredocs_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/gcp/firestoredocs"
)

// is fails unless err is want and none of the port's other errors.
func is(t *testing.T, what string, err, want error) {
	t.Helper()
	for _, e := range []error{
		docstore.ErrNotFound, docstore.ErrConflict, docstore.ErrUnavailable, docstore.ErrTooLarge, docstore.ErrInvalid, docstore.ErrFull,
	} {
		if errors.Is(err, e) != (e == want) { //nolint:errorlint // the sentinels themselves are compared
			t.Errorf("%s: %v; is %v: %t", what, err, e, errors.Is(err, e))
		}
	}
}

func TestTheErrorOfACommitSaysWhatIsKnown(t *testing.T) {
	t.Parallel()
	const v = 1_700_000_000_000_000
	writes := []docstore.Write{
		{Op: docstore.Create, Key: thing("new")},
		{Op: docstore.Replace, Key: thing("old"), Version: v},
		{Op: docstore.Delete, Key: thing("gone"), Version: v},
	}
	old, gone, taken := stored(thing("old"), v, nil), stored(thing("gone"), v, nil), stored(thing("new"), v, nil)
	stale := stored(thing("old"), v+1, nil)
	state := func(docs ...*firestorepb.Document) map[string]*firestorepb.Document {
		m := make(map[string]*firestorepb.Document)
		for _, d := range docs {
			m[d.GetName()] = d
		}
		return m
	}
	all, none := writes, -1
	for name, c := range map[string]struct {
		code   codes.Code
		docs   map[string]*firestorepb.Document
		writes []docstore.Write
		read   codes.Code // of the read that looks for the write
		want   error
		index  int
		reads  int
	}{
		"taken":                          {codes.AlreadyExists, state(taken, old, gone), all, codes.OK, docstore.ErrConflict, 0, 1},
		"stale":                          {codes.FailedPrecondition, state(stale, gone), all, codes.OK, docstore.ErrConflict, 1, 1},
		"missing":                        {codes.NotFound, state(old), all, codes.OK, docstore.ErrConflict, 2, 1},
		"the first of two":               {codes.FailedPrecondition, state(stale), all, codes.OK, docstore.ErrConflict, 1, 1},
		"all hold since":                 {codes.FailedPrecondition, state(old, gone), all, codes.OK, docstore.ErrConflict, 0, 1},
		"one write needs no read":        {codes.FailedPrecondition, state(old), writes[1:2], codes.OK, docstore.ErrConflict, 0, 0},
		"one write, nothing there":       {codes.NotFound, nil, writes[1:2], codes.OK, docstore.ErrConflict, 0, 1},
		"a version to come":              {codes.InvalidArgument, state(stale, gone), all, codes.OK, docstore.ErrConflict, 1, 1},
		"wrong request":                  {codes.InvalidArgument, state(old, gone), all, codes.OK, docstore.ErrInvalid, none, 1},
		"out of range":                   {codes.OutOfRange, state(old, gone), all, codes.OK, docstore.ErrInvalid, none, 1},
		"unimplemented":                  {codes.Unimplemented, state(old, gone), all, codes.OK, docstore.ErrInvalid, none, 1},
		"contention lost":                {codes.Aborted, state(taken, old, gone), all, codes.OK, docstore.ErrConflict, 0, 1},
		"contention, all hold":           {codes.Aborted, state(old, gone), all, codes.OK, docstore.ErrUnavailable, none, 1},
		"no database":                    {codes.NotFound, nil, writes[1:2], codes.NotFound, docstore.ErrUnavailable, none, 1},
		"no read after a conflict":       {codes.AlreadyExists, nil, all, codes.Unavailable, docstore.ErrUnavailable, none, 1},
		"no read right":                  {codes.AlreadyExists, nil, all, codes.PermissionDenied, docstore.ErrUnavailable, none, 1},
		"datastore mode":                 {codes.FailedPrecondition, nil, all, codes.FailedPrecondition, docstore.ErrUnavailable, none, 1},
		codes.Unavailable.String():       {codes.Unavailable, nil, all, codes.OK, docstore.ErrUnavailable, none, 0},
		codes.DeadlineExceeded.String():  {codes.DeadlineExceeded, nil, all, codes.OK, docstore.ErrUnavailable, none, 0},
		codes.Canceled.String():          {codes.Canceled, nil, all, codes.OK, docstore.ErrUnavailable, none, 0},
		codes.Internal.String():          {codes.Internal, nil, all, codes.OK, docstore.ErrUnavailable, none, 0},
		codes.Unknown.String():           {codes.Unknown, nil, all, codes.OK, docstore.ErrUnavailable, none, 0},
		codes.DataLoss.String():          {codes.DataLoss, nil, all, codes.OK, docstore.ErrUnavailable, none, 0},
		codes.PermissionDenied.String():  {codes.PermissionDenied, nil, all, codes.OK, docstore.ErrUnavailable, none, 0},
		codes.Unauthenticated.String():   {codes.Unauthenticated, nil, all, codes.OK, docstore.ErrUnavailable, none, 0},
		codes.ResourceExhausted.String(): {codes.ResourceExhausted, nil, all, codes.OK, docstore.ErrFull, none, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{docs: c.docs, fail: map[string]error{"Commit": failure(c.code)}}
			if c.read != codes.OK {
				f.fail["BatchGetDocuments"] = failure(c.read)
			}
			d := serve(t, f, firestoredocs.Config{})
			_, err := d.Commit(t.Context(), c.writes)
			is(t, "commit", err, c.want)
			index := none
			if conflict, ok := errors.AsType[*docstore.ConflictError](err); ok {
				index = conflict.Index
				if conflict.Key != c.writes[index].Key {
					t.Errorf("conflict on %v, want %v", conflict.Key, c.writes[index].Key)
				}
			}
			if index != c.index {
				t.Errorf("conflict on write %d, want %d", index, c.index)
			}
			if n := f.count("Commit"); n != 1 {
				t.Errorf("%d commits were sent, want 1", n)
			}
			if n := f.count("BatchGetDocuments"); n != c.reads {
				t.Errorf("%d reads, want %d", n, c.reads)
			}
		})
	}
}

func TestACommitIsNotBelievedWithoutItsVersions(t *testing.T) {
	t.Parallel()
	create := []docstore.Write{{Op: docstore.Create, Key: thing("a")}}
	for name, results := range map[string][]*firestorepb.WriteResult{
		"no result":      nil,
		"no update time": {{}},
		"two results":    {{UpdateTime: timestamppb.Now()}, {UpdateTime: timestamppb.Now()}},
	} {
		d := serve(t, &fake{results: results}, firestoredocs.Config{})
		_, err := d.Commit(t.Context(), create)
		is(t, name, err, docstore.ErrUnavailable)
	}
}

func TestTheErrorOfARead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code codes.Code
		want error
	}{
		{codes.NotFound, docstore.ErrUnavailable}, // the database
		{codes.FailedPrecondition, docstore.ErrUnavailable},
		{codes.Aborted, docstore.ErrUnavailable},
		{codes.Unavailable, docstore.ErrUnavailable},
		{codes.DeadlineExceeded, docstore.ErrUnavailable},
		{codes.Canceled, docstore.ErrUnavailable},
		{codes.Internal, docstore.ErrUnavailable},
		{codes.Unknown, docstore.ErrUnavailable},
		{codes.ResourceExhausted, docstore.ErrUnavailable},
		{codes.PermissionDenied, docstore.ErrUnavailable},
		{codes.Unauthenticated, docstore.ErrUnavailable},
		{codes.InvalidArgument, docstore.ErrInvalid},
		{codes.Unimplemented, docstore.ErrInvalid},
		{codes.DataLoss, docstore.ErrUnavailable},
		{codes.OutOfRange, docstore.ErrInvalid},
	} {
		t.Run(c.code.String(), func(t *testing.T) {
			t.Parallel()
			f := &fake{fail: map[string]error{"BatchGetDocuments": failure(c.code), "RunQuery": failure(c.code)}}
			d := serve(t, f, firestoredocs.Config{})
			_, err := d.Get(t.Context(), thing("a"))
			is(t, "get", err, c.want)
			is(t, "ping", d.Ping(t.Context()), c.want)
			_, err = d.Query(t.Context(), byRank(1))
			is(t, "query", err, c.want)
			if gets, queries := f.count("BatchGetDocuments"), f.count("RunQuery"); gets != 2 || queries != 1 {
				t.Errorf("%d reads and %d queries were sent, want 2 and 1", gets, queries)
			}
		})
	}
}

func TestAForeignDocumentIsNotRead(t *testing.T) {
	t.Parallel()
	flag := &firestorepb.Value{ValueType: &firestorepb.Value_BooleanValue{BooleanValue: true}}
	for what, doc := range map[string]*firestorepb.Document{
		"no data":         stored(thing("a"), 1, nil),
		"data is no byte": stored(thing("a"), 1, map[string]*firestorepb.Value{"data": flag}),
		"field kind":      stored(thing("a"), 1, map[string]*firestorepb.Value{"data": bytesValue(), "rank": flag}),
		"string for int":  stored(thing("a"), 1, map[string]*firestorepb.Value{"data": bytesValue(), "rank": {ValueType: &firestorepb.Value_StringValue{StringValue: "7"}}}),
		"no update time":  {Name: name(thing("a")), Fields: map[string]*firestorepb.Value{"data": bytesValue()}},
	} {
		d := serve(t, &fake{docs: map[string]*firestorepb.Document{name(thing("a")): doc}}, firestoredocs.Config{})
		_, err := d.Get(t.Context(), thing("a"))
		is(t, what, err, docstore.ErrUnavailable)
		_, err = d.Query(t.Context(), byRank(9))
		is(t, what, err, docstore.ErrUnavailable)
	}
}

func TestAContextThatEndsDuringACall(t *testing.T) {
	t.Parallel()
	f := &fake{blocked: make(chan struct{}, 1)}
	d := serve(t, f, firestoredocs.Config{})
	for name, c := range map[string]struct {
		call func(context.Context) error
		want error // besides the context's
	}{
		"get":   {func(ctx context.Context) error { _, err := d.Get(ctx, thing("a")); return err }, nil},
		"query": {func(ctx context.Context) error { _, err := d.Query(ctx, byRank(1)); return err }, nil},
		"ping":  {d.Ping, nil},
		"commit": {func(ctx context.Context) error {
			_, err := d.Commit(ctx, []docstore.Write{{Op: docstore.Create, Key: thing("a")}})
			return err
		}, docstore.ErrUnavailable},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- c.call(ctx) }()
		<-f.blocked
		cancel()
		err := <-result
		is(t, name, err, c.want)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want canceled", name, err)
		}
	}
}

func TestAMissingIndexIsNamedUntilItIsThere(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	hint := "https://console.firebase.google.com/project/p/firestore/indexes?create_composite=x"
	f := &fake{fail: map[string]error{"RunQuery": status.Error(codes.FailedPrecondition, "The query requires an index: "+hint)}}
	d := serve(t, f, firestoredocs.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := d.Ping(t.Context()); err != nil {
		t.Fatalf("ping before any query: %v", err)
	}
	for range 2 {
		_, err := d.Query(t.Context(), byRank(5))
		lacks, ok := errors.AsType[*firestoredocs.IndexError](err)
		if !ok || *lacks != (firestoredocs.IndexError{Collection: "things", Index: "by_rank"}) {
			t.Fatalf("query: %v", err)
		}
		is(t, "query", err, docstore.ErrUnavailable)
		err = d.Ping(t.Context())
		is(t, "ping", err, docstore.ErrUnavailable)
		if lacks, ok = errors.AsType[*firestoredocs.IndexError](err); !ok || strings.Contains(err.Error(), hint) {
			t.Fatalf("ping: %v (%v)", err, lacks)
		}
	}
	f.set("RunQuery", failure(codes.Unavailable))
	is(t, "ping while Firestore is away", d.Ping(t.Context()), docstore.ErrUnavailable)
	f.set("RunQuery", nil)
	for range 2 {
		if err := d.Ping(t.Context()); err != nil {
			t.Fatalf("ping with the index: %v", err)
		}
	}
	if n := f.count("RunQuery"); n != 6 { // 2 + 2 pings, one while away, one that healed
		t.Errorf("%d queries, want 6", n)
	}
	text := log.String()
	if strings.Count(text, "firestore_index_missing") != 1 || strings.Count(text, "firestore_index_back") != 1 || strings.Contains(text, "https:") {
		t.Errorf("log:\n%s", text)
	}
}
