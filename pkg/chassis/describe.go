package chassis

import (
	"encoding"
	"reflect"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"
)

// ConfigField is one environment variable of a service, for the reference.
type ConfigField struct {
	Key string
	// Type is what the variable holds, in words: "a duration like 30s".
	Type     string
	Default  string
	Required bool
	// Secret values are never shown in errors or logs.
	Secret bool
	Doc    string
}

// Describe lists the variables of a configuration struct (or a pointer to one),
// in the order of its fields.
func Describe(cfg any) []ConfigField {
	t := reflect.TypeOf(cfg)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	fields := fieldsOf(reflect.New(t).Elem(), "")
	out := make([]ConfigField, len(fields))
	for i, f := range fields {
		out[i] = ConfigField{
			Key: f.key, Type: f.allowed(), Default: f.def, Required: f.required,
			Secret: f.secret, Doc: f.decl.Tag.Get("doc"),
		}
	}
	return out
}

// allowed says what the variable may hold.
func (f field) allowed() string {
	if len(f.oneOf) > 0 {
		return "one of " + strings.Join(f.oneOf, ", ")
	}
	s := typeInWords(f.decl.Type)
	lowest, highest := f.decl.Tag.Get("min"), f.decl.Tag.Get("max")
	switch {
	case lowest != "" && highest != "":
		return s + ", " + lowest + " to " + highest
	case lowest != "":
		return s + ", at least " + lowest
	case highest != "":
		return s + ", at most " + highest
	default:
		return s
	}
}

// typeInWords names the text form of a Go type.
func typeInWords(t reflect.Type) string {
	ptr := reflect.PointerTo(t)
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration like 30s or 5m"
	case ptr.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()),
		ptr.Implements(reflect.TypeFor[envconfig.Decoder]()),
		ptr.Implements(reflect.TypeFor[envconfig.DecoderCtx]()):
		return "a " + t.String()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "text"
		}
		return "a list with commas, each " + typeInWords(t.Elem())
	case reflect.Map:
		return "a list of key:value with commas"
	case reflect.Pointer:
		return typeInWords(t.Elem())
	default:
		return "text"
	}
}
