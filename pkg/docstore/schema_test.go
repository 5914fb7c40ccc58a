package docstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestValidateRefusesWhatNotEveryPlatformCanDo(t *testing.T) {
	t.Parallel()
	fields := []Field{{Name: "a", Kind: String}, {Name: "n", Kind: Int}}
	many := make([]Field, 0, maxFields+1)
	manyIndexes := make([]Index, 0, maxIndexes+1)
	for i := range maxFields + 1 {
		many = append(many, Field{Name: fmt.Sprintf("f%d", i), Kind: Int})
		manyIndexes = append(manyIndexes, Index{Name: fmt.Sprintf("i%d", i), Order: "n"})
	}
	for name, s := range map[string]Schema{
		"no name":               {{}},
		"upper case":            {{Name: "Jobs"}},
		"digit first":           {{Name: "1jobs"}},
		"quote":                 {{Name: `jobs"`}},
		"long name":             {{Name: strings.Repeat("j", maxNameBytes+1)}},
		"collection twice":      {{Name: "jobs"}, {Name: "jobs"}},
		"field twice":           {{Name: "jobs", Fields: []Field{{Name: "a", Kind: Int}, {Name: "a", Kind: Int}}}},
		"field name":            {{Name: "jobs", Fields: []Field{{Name: "a b", Kind: Int}}}},
		"reserved field":        {{Name: "jobs", Fields: []Field{{Name: "data", Kind: String}}}},
		"unknown direction":     {{Name: "jobs", Fields: fields, Indexes: []Index{{Name: "i", Order: "a", Read: BothWays + 1}}}},
		"no kind":               {{Name: "jobs", Fields: []Field{{Name: "a"}}}},
		"unknown kind":          {{Name: "jobs", Fields: []Field{{Name: "a", Kind: 3}}}},
		"many fields":           {{Name: "jobs", Fields: many}},
		"many indexes":          {{Name: "jobs", Fields: fields, Indexes: manyIndexes}},
		"index twice":           {{Name: "jobs", Fields: fields, Indexes: []Index{{Name: "i", Order: "a"}, {Name: "i", Order: "n"}}}},
		"index name":            {{Name: "jobs", Fields: fields, Indexes: []Index{{Name: "", Order: "a"}}}},
		"no order":              {{Name: "jobs", Fields: fields, Indexes: []Index{{Name: "i", Equal: []string{"a"}}}}},
		"undeclared order":      {{Name: "jobs", Fields: fields, Indexes: []Index{{Name: "i", Order: "x"}}}},
		"undeclared equal":      {{Name: "jobs", Fields: fields, Indexes: []Index{{Name: "i", Equal: []string{"x"}, Order: "a"}}}},
		"field twice in index":  {{Name: "jobs", Fields: fields, Indexes: []Index{{Name: "i", Equal: []string{"a"}, Order: "a"}}}},
		"expires undeclared":    {{Name: "jobs", Fields: fields, Expires: "x"}},
		"expires not a number":  {{Name: "jobs", Fields: fields, Expires: "a"}},
		"one bad of two things": {{Name: "jobs"}, {Name: "Jobs"}},
	} {
		if err := s.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
	good := Schema{
		{Name: "jobs", Fields: many[:maxFields], Expires: "f1"},
		{Name: "a_1", Fields: fields, Indexes: []Index{{Name: "i", Equal: []string{"a"}, Order: "n"}, {Name: "j", Order: "a"}}},
		{Name: strings.Repeat("j", maxNameBytes)},
	}
	if err := good.Validate(); err != nil {
		t.Errorf("a good schema: %v", err)
	}
}
