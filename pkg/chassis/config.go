package chassis

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/secret"
)

// Validator is a configuration struct, or a struct nested in one, that has
// rules beyond those of single fields. Every error should name the variable.
type Validator interface{ Validate() []error }

// ConfigError is everything that is wrong with a configuration.
type ConfigError struct {
	Problems []error
}

func (e *ConfigError) Error() string { return "configuration:\n" + errors.Join(e.Problems...).Error() }

// Unwrap returns the problems.
func (e *ConfigError) Unwrap() []error { return e.Problems }

// add appends problems that are not there yet: two structs may read the same variable.
func (e *ConfigError) add(problems ...error) {
	for _, p := range problems {
		known := slices.ContainsFunc(e.Problems, func(q error) bool { return q.Error() == p.Error() })
		if p != nil && !known {
			e.Problems = append(e.Problems, p)
		}
	}
}

// Load fills a configuration struct from the environment. Its fields carry the
// tags of github.com/sethvargo/go-envconfig (env:"NAME,required,default=…",
// env:",prefix=…" on nested structs) and, of this package's own, doc:"sentence",
// oneof:"a,b", min:"1" and max:"10" (numbers and durations) and secret:"true".
// A variable that is set but empty counts as not set.
//
// The error is a *[ConfigError] with everything that is wrong, each part naming
// the variable and what it may hold, so that one start tells all. Values of
// secret fields are never in it. A nil lookup means the process's environment.
func Load[T any](ctx context.Context, lookup envconfig.Lookuper) (T, error) {
	var cfg, zero T
	if lookup == nil {
		lookup = envconfig.OsLookuper()
	}
	lookup = notEmpty{lookup}
	var wrong ConfigError
	target := reflect.ValueOf(&cfg).Elem()
	for _, f := range fieldsOf(target, "") {
		if err := f.load(ctx, lookup); err != nil {
			wrong.add(err)
		}
	}
	// Rules between fields are checked only on fields that are right by
	// themselves: otherwise they would report the same mistake in other words.
	if len(wrong.Problems) == 0 {
		validate(target, &wrong)
	}
	if len(wrong.Problems) > 0 {
		return zero, &wrong
	}
	return cfg, nil
}

// validate asks a struct and the structs in it.
func validate(v reflect.Value, wrong *ConfigError) {
	if v.CanAddr() && v.Addr().CanInterface() {
		if rules, ok := reflect.TypeAssert[Validator](v.Addr()); ok {
			wrong.add(rules.Validate()...)
		}
	}
	for i := range v.NumField() {
		if v.Field(i).Kind() == reflect.Struct && v.Type().Field(i).IsExported() {
			validate(v.Field(i), wrong)
		}
	}
}

// notEmpty hides variables that are set to nothing, as compose files do with
// ${NAME:-}.
type notEmpty struct{ envconfig.Lookuper }

func (l notEmpty) Lookup(key string) (string, bool) {
	v, ok := l.Lookuper.Lookup(key)
	return v, ok && v != ""
}

// field is one variable of a configuration struct.
type field struct {
	value reflect.Value
	decl  reflect.StructField
	// key is the full name of the variable, prefixes included.
	key      string
	prefix   string
	def      string
	required bool
	secret   bool
	oneOf    []string
}

// fieldsOf lists the variables of a struct in their order, nested structs
// included. A mistake in the tags is a programming error and panics.
func fieldsOf(v reflect.Value, prefix string) []field {
	var out []field
	for i := range v.NumField() {
		decl := v.Type().Field(i)
		tag, tagged := decl.Tag.Lookup("env")
		key, opts := parseTag(tag)
		switch {
		case key == "" && decl.Type.Kind() == reflect.Struct && (decl.IsExported() || decl.Anonymous):
			out = append(out, fieldsOf(v.Field(i), prefix+opts.prefix)...)
			continue
		case !tagged:
			continue
		case !decl.IsExported() || key == "":
			panic("chassis: " + v.Type().String() + "." + decl.Name + ": an env tag needs an exported field and a name")
		}
		f := field{
			value: v.Field(i), decl: decl, key: prefix + key, prefix: prefix, def: opts.def, required: opts.required,
			secret: decl.Type == reflect.TypeFor[secret.Value]() || decl.Tag.Get("secret") == "true",
		}
		if s := decl.Tag.Get("oneof"); s != "" {
			f.oneOf = strings.Split(s, ",")
		}
		out = append(out, f)
	}
	return out
}

// tagOptions are the options of an env tag that this package must know itself.
type tagOptions struct {
	prefix, def string
	required    bool
}

// parseTag reads an env tag as go-envconfig does; default= takes the rest.
func parseTag(tag string) (key string, opts tagOptions) {
	key, rest, more := strings.Cut(tag, ",")
	for more {
		trimmed := strings.TrimLeft(rest, " ")
		if def, ok := strings.CutPrefix(trimmed, "default="); ok {
			opts.def = def
			break
		}
		var opt string
		opt, rest, more = strings.Cut(trimmed, ",")
		if p, ok := strings.CutPrefix(opt, "prefix="); ok {
			opts.prefix = p
		}
		opts.required = opts.required || strings.TrimSpace(opt) == "required"
	}
	return strings.TrimSpace(key), opts
}

// load sets the field from its variable.
func (f field) load(ctx context.Context, lookup envconfig.Lookuper) error {
	raw, set := lookup.Lookup(f.key)
	if !set {
		if f.required {
			return fmt.Errorf("%s is required: %s", f.key, f.allowed())
		}
		if f.def == "" {
			return nil
		}
		raw = f.def
	}
	if f.decl.Type == reflect.TypeFor[secret.Value]() {
		f.value.Set(reflect.ValueOf(secret.NewValue(raw)))
		return nil
	}
	// go-envconfig stops at the first error of a struct, so it is given structs
	// of one field: decoding stays its business, collecting errors is ours.
	one := reflect.New(reflect.StructOf([]reflect.StructField{{Name: f.decl.Name, Type: f.decl.Type, Tag: f.decl.Tag}}))
	err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: one.Interface(), Lookuper: envconfig.PrefixLookuper(f.prefix, lookup)})
	if err != nil {
		return f.wrong(raw)
	}
	if !f.inBounds(one.Elem().Field(0), raw) {
		return f.wrong(raw)
	}
	f.value.Set(one.Elem().Field(0))
	return nil
}

// wrong says what the variable holds and what it may hold.
func (f field) wrong(raw string) error {
	const most = 80 // enough to recognise a value, not enough to flood a log
	if len(raw) > most {
		raw = raw[:most] + "…"
	}
	got := strconv.Quote(raw)
	if f.secret {
		got = secret.NewValue(raw).String()
	}
	return fmt.Errorf("%s is %s: %s", f.key, got, f.allowed())
}

// inBounds checks oneof, min and max.
func (f field) inBounds(v reflect.Value, raw string) bool {
	if len(f.oneOf) > 0 {
		return slices.Contains(f.oneOf, raw)
	}
	n, ok := number(v)
	if !ok {
		return true
	}
	lowest, hasMin := f.bound("min")
	highest, hasMax := f.bound("max")
	return (!hasMin || n >= lowest) && (!hasMax || n <= highest)
}

// number is the value of a numeric field.
func number(v reflect.Value) (float64, bool) {
	switch {
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	case v.CanFloat():
		return v.Float(), true
	default:
		return 0, false
	}
}

// bound reads a min or max tag in the unit of the field.
func (f field) bound(name string) (float64, bool) {
	tag := f.decl.Tag.Get(name)
	if tag == "" {
		return 0, false
	}
	if f.decl.Type == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(tag)
		if err != nil {
			panic("chassis: " + f.key + ": " + name + " is not a duration")
		}
		return float64(d), true
	}
	n, err := strconv.ParseFloat(tag, 64)
	if err != nil {
		panic("chassis: " + f.key + ": " + name + " is not a number")
	}
	return n, true
}
