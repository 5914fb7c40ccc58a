package chassis_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sethvargo/go-envconfig"

	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/secret"
)

type limits struct {
	Small int64 `env:"SMALL,default=10" min:"1" max:"100" doc:"A small number."`
}

type sample struct {
	Name   string        `env:"NAME,required" doc:"The name."`
	Mode   string        `env:"MODE,default=a" oneof:"a,b" doc:"The mode."`
	Wait   time.Duration `env:"WAIT,default=30s" min:"1s" max:"1m"`
	On     bool          `env:"ON"`
	List   []string      `env:"LIST,default=x,y"`
	Net    netip.Prefix  `env:"NET"`
	Key    secret.Value  `env:"KEY"`
	Pin    int           `env:"PIN" secret:"true"`
	Limits limits        `env:",prefix=LIMIT_"`
	Plain  limits
}

func (s *sample) Validate() []error {
	if s.On && s.Name == "off" {
		return []error{errors.New("ON does not go with NAME=off")}
	}
	return nil
}

func load(t *testing.T, env map[string]string) (sample, error) {
	t.Helper()
	return chassis.Load[sample](t.Context(), envconfig.MapLookuper(env))
}

func TestLoad(t *testing.T) {
	t.Parallel()
	got, err := load(t, map[string]string{
		"NAME": "n", "MODE": "b", "WAIT": "2s", "ON": "true", "LIST": "a, b", "NET": "10.0.0.0/8",
		"KEY": "k", "PIN": "7", "LIMIT_SMALL": "5", "SMALL": "6",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := sample{
		Name: "n", Mode: "b", Wait: 2 * time.Second, On: true, List: []string{"a", "b"}, Net: netip.MustParsePrefix("10.0.0.0/8"),
		Key: secret.NewValue("k"), Pin: 7, Limits: limits{5}, Plain: limits{6},
	}
	opts := cmp.Options{cmp.AllowUnexported(secret.Value{}), cmpopts.EquateComparable(netip.Prefix{})}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}

	got, err = load(t, map[string]string{"NAME": "n", "MODE": "", "WAIT": "", "PIN": ""})
	if err != nil {
		t.Fatalf("empty is not unset: %v", err)
	}
	want = sample{Name: "n", Mode: "a", Wait: 30 * time.Second, List: []string{"x", "y"}, Limits: limits{10}, Plain: limits{10}}
	if diff := cmp.Diff(want, got, opts); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestLoadReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(t, map[string]string{
		"MODE": "c", "WAIT": "2m", "ON": "maybe", "NET": "10.0.0.0/99", "PIN": "hunter2", "LIMIT_SMALL": "0", "SMALL": "many",
	})
	var wrong *chassis.ConfigError
	if !errors.As(err, &wrong) {
		t.Fatalf("error = %v", err)
	}
	keys := make([]string, 0, len(wrong.Problems))
	for _, p := range wrong.Problems {
		key, _, _ := strings.Cut(p.Error(), " ")
		keys = append(keys, key)
	}
	if diff := cmp.Diff([]string{"NAME", "MODE", "WAIT", "ON", "NET", "PIN", "LIMIT_SMALL", "SMALL"}, keys); diff != "" {
		t.Errorf("variables (-want +got):\n%s\n%v", diff, err)
	}
	for _, part := range []string{`NAME is required`, `MODE is "c": one of a, b`, `WAIT is "2m"`, `1s to 1m`, `LIMIT_SMALL is "0"`, "1 to 100"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q:\n%v", part, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error shows a secret:\n%v", err)
	}
}

func TestLoadValidates(t *testing.T) {
	t.Parallel()
	type nested struct {
		Inner sample
		Again sample
	}
	_, err := chassis.Load[nested](t.Context(), envconfig.MapLookuper(map[string]string{"NAME": "off", "ON": "1"}))
	var wrong *chassis.ConfigError
	if !errors.As(err, &wrong) || len(wrong.Problems) != 1 {
		t.Errorf("error = %v, want the one problem of both structs once", err)
	}
}

func TestLoadRefusesBrokenTags(t *testing.T) {
	t.Parallel()
	for name, load := range map[string]func(context.Context, envconfig.Lookuper){
		"private field": func(ctx context.Context, l envconfig.Lookuper) {
			_, _ = chassis.Load[struct {
				name string `env:"NAME"`
			}](ctx, l)
		},
		"no name": func(ctx context.Context, l envconfig.Lookuper) {
			_, _ = chassis.Load[struct {
				Name string `env:",required"`
			}](ctx, l)
		},
		"bound that is no number": func(ctx context.Context, l envconfig.Lookuper) {
			_, _ = chassis.Load[struct {
				N int `env:"N" min:"one"`
			}](ctx, l)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			load(t.Context(), envconfig.MapLookuper(map[string]string{"N": "1"}))
		})
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	want := []chassis.ConfigField{
		{Key: "NAME", Type: "text", Required: true, Doc: "The name."},
		{Key: "MODE", Type: "one of a, b", Default: "a", Doc: "The mode."},
		{Key: "WAIT", Type: "a duration like 30s or 5m, 1s to 1m", Default: "30s"},
		{Key: "ON", Type: "true or false"},
		{Key: "LIST", Type: "a list with commas, each text", Default: "x,y"},
		{Key: "NET", Type: "a netip.Prefix"},
		{Key: "KEY", Type: "text", Secret: true},
		{Key: "PIN", Type: "a whole number", Secret: true},
		{Key: "LIMIT_SMALL", Type: "a whole number, 1 to 100", Default: "10", Doc: "A small number."},
		{Key: "SMALL", Type: "a whole number, 1 to 100", Default: "10", Doc: "A small number."},
	}
	if diff := cmp.Diff(want, chassis.Describe(&sample{})); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestOwnConfigIsDocumented(t *testing.T) {
	t.Parallel()
	for _, cfg := range []any{chassis.Config{}, chassis.ListenConfig{}} {
		for _, f := range chassis.Describe(cfg) {
			if f.Doc == "" {
				t.Errorf("%s has no doc", f.Key)
			}
		}
	}
}

func TestListenConfig(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{nil, "127.0.0.1:8080"},
		{map[string]string{"PORT": "9000"}, ":9000"},
		{map[string]string{"CODEXGW_ADDR": "127.0.0.1:1"}, "127.0.0.1:1"},
		{map[string]string{"CODEXGW_ADDR": "127.0.0.1:1", "PORT": "9000"}, "127.0.0.1:1"},
	} {
		cfg, err := chassis.Load[chassis.ListenConfig](t.Context(), envconfig.MapLookuper(tt.env))
		if err != nil || cfg.Address() != tt.want {
			t.Errorf("%v: %q, %v; want %q", tt.env, cfg.Address(), err, tt.want)
		}
	}
	for _, port := range []string{"0", "65536", "http", "-1"} {
		if _, err := chassis.Load[chassis.ListenConfig](t.Context(), envconfig.MapLookuper(map[string]string{"PORT": port})); err == nil {
			t.Errorf("PORT=%s was accepted", port)
		}
	}
}
