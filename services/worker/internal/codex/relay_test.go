package codex

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]Kind{
		"item/agentMessage/delta":           KindDelta,
		"item/commandExecution/outputDelta": KindDelta,
		"item/reasoning/summaryTextDelta":   KindDelta,
		"item/reasoning/textDelta":          KindDelta,
		"item/plan/delta":                   KindDelta,
		"item/reasoning/summaryPartAdded":   KindItem,
		"item/started":                      KindItem,
		"turn/completed":                    KindItem,
		"turn/diff/updated":                 KindItem,
		"thread/tokenUsage/updated":         KindItem,
		"error":                             KindItem,
		"item/future/delta":                 KindItem,
		"future":                            KindItem,
		"account/rateLimits/updated":        KindPrivate,
		"account/future":                    KindPrivate,
		"remoteControl/status/changed":      KindPrivate,
	} {
		if got := Classify(method); got != want {
			t.Errorf("%s: kind %d, want %d", method, got, want)
		}
	}
}

func TestMergeDelta(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, a, b, want string }{
		{"joins the text and keeps the rest", `{"threadId":"T","itemId":"i","delta":"a\n"}`, `{"threadId":"T","itemId":"i","delta":"\"b"}`, `{"threadId":"T","itemId":"i","delta":"a\n\"b"}`},
		{"keeps members behind the text", `{"delta":"a","n":1}`, `{"delta":"b","n":1}`, `{"delta":"ab","n":1}`},
		{"takes empty text", `{"itemId":"i","delta":""}`, `{"itemId":"i","delta":"b"}`, `{"itemId":"i","delta":"b"}`},
		{"keeps the first one's blanks", `{ "itemId": "i", "delta": "a" }`, `{"itemId":"i","delta":"b"}`, `{ "itemId": "i", "delta": "ab" }`},
		{"another item", `{"itemId":"i","delta":"a"}`, `{"itemId":"j","delta":"b"}`, ""},
		{"another part of the item", `{"itemId":"i","delta":"a","summaryIndex":0}`, `{"itemId":"i","delta":"b","summaryIndex":1}`, ""},
		{"a member that only one has", `{"delta":"a"}`, `{"delta":"b","x":1}`, ""},
		{"no text", `{"itemId":"i"}`, `{"itemId":"i"}`, ""},
		{"text that is no string", `{"delta":1}`, `{"delta":1}`, ""},
		{"not an object", `[]`, `[]`, ""},
		{"broken", `{"delta":"a"`, `{"delta":"b"}`, ""},
		{"something behind", `{"delta":"a"}x`, `{"delta":"b"}`, ""},
		{"half a surrogate pair", `{"delta":"\ud83d"}`, `{"delta":"\ude00"}`, ""},
		{"nothing", ``, ``, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, ok := MergeDelta(json.RawMessage(tc.a), json.RawMessage(tc.b))
			if string(got) != tc.want || ok != (tc.want != "") {
				t.Errorf("%s, %v; want %s", got, ok, tc.want)
			}
		})
	}
}

func FuzzMergeDelta(f *testing.F) {
	f.Add([]byte(`{"threadId":"T","turnId":"U","itemId":"i","delta":"a"}`), []byte(`{"threadId":"T","turnId":"U","itemId":"i","delta":"b"}`))
	f.Add([]byte(`{"delta":"\\","n":{"delta":"x"}}`), []byte(`{"delta":"\"","n":{"delta":"x"}}`))
	f.Add([]byte(`{"delta":"a","delta":"b"}`), []byte(`{"delta":"a","delta":"b"}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		keepA, keepB := bytes.Clone(a), bytes.Clone(b)
		got, ok := MergeDelta(a, b)
		if !bytes.Equal(a, keepA) || !bytes.Equal(b, keepB) {
			t.Fatal("an argument was changed")
		}
		if !ok {
			return
		}
		var ma, mb, mg map[string]any
		for raw, into := range map[*[]byte]*map[string]any{&a: &ma, &b: &mb, (*[]byte)(&got): &mg} {
			if err := json.Unmarshal(*raw, into); err != nil {
				t.Fatalf("%q: %v", *raw, err)
			}
		}
		textA, okA := ma["delta"].(string)
		textB, okB := mb["delta"].(string)
		if !okA || !okB || mg["delta"] != textA+textB {
			t.Fatalf("text %q of %q and %q", mg["delta"], textA, textB)
		}
		delete(ma, "delta")
		delete(mg, "delta")
		if !reflect.DeepEqual(ma, mg) {
			t.Fatalf("members %v, want %v", mg, ma)
		}
	})
}

func BenchmarkMergeDelta(b *testing.B) {
	a := json.RawMessage(`{"threadId":"01a20480-ca0c-7be2-8c8c-c39961862c8c","turnId":"01a20480-ca26-7612-928e-b5bada66a1d8","itemId":"msg_6_0","delta":"Hello "}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := MergeDelta(a, a); !ok {
			b.Fatal("not merged")
		}
	}
}
