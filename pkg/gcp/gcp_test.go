package gcp_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sethvargo/go-envconfig"
	"go.uber.org/goleak"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/chassis"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/gcp"
	"codexgateway.dev/pkg/gcp/gcptest"
	"codexgateway.dev/pkg/platform"
	"codexgateway.dev/pkg/platform/platformtest"
)

var cloud gcptest.Local

func TestMain(m *testing.M) {
	os.Exit(cloud.Main(m, func() error { return goleak.Find(gcptest.Leaks()...) }))
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func projectID() string { return "p-" + strings.ToLower(rand.Text()[:12]) }

// servers are a project of its own on all four services. They outlive a
// platform that is closed and opened again.
type servers struct {
	cfg     gcp.Config
	storage *gcptest.Storage
	secrets *gcptest.Secrets
}

func newServers(t *testing.T) *servers {
	t.Helper()
	s := &servers{storage: gcptest.NewStorage(t), secrets: gcptest.NewSecrets(t)}
	s.cfg = gcp.Config{
		Project: projectID(), Bucket: "artifacts", Secrets: gcp.SecretsManager,
		PubSubEmulator: cloud.PubSub(t), FirestoreEmulator: cloud.Firestore(t),
		StorageEmulator: "http://" + s.storage.Addr, SecretsEmulator: s.secrets.Addr,
	}
	if problems := s.cfg.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}

func (s *servers) bootstrap(t *testing.T) {
	t.Helper()
	if err := gcp.Bootstrap(t.Context(), s.cfg, platform.BootstrapOptions{Logger: quiet()}); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, cfg gcp.Config, deps gcp.Deps) *platform.Platform {
	t.Helper()
	if deps.Logger == nil {
		deps.Logger = quiet()
	}
	if deps.Schema == nil {
		deps.Schema = docstore.Schema{{Name: "things"}}
	}
	p, err := gcp.Open(t.Context(), cfg, deps)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return p
}

func closeIt(t *testing.T, p *platform.Platform) {
	t.Helper()
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// unchecked is what fake-gcs-server does not do. That links are signed as Cloud
// Storage wants them is tested against the published vectors in gcsblobs.
var unchecked = platformtest.Baseline{
	"signed for PUT":             "it checks no signature",
	"another blob":               "it checks no signature",
	"a later expiry":             "it checks no signature",
	"another disposition":        "it checks no signature",
	"another signature":          "it checks no signature",
	"no signature":               "every object is public",
	"expired":                    "it checks no expiry",
	"DELETE with a link for GET": "it checks no signature",
}

// Not parallel: the suite looks for goroutines that a close left behind.
func TestConformance(t *testing.T) { //nolint:paralleltest // see above
	s := newServers(t)
	projects := make(map[string]string) // by test
	platformtest.Run(t, func(t *testing.T, schema docstore.Schema) *platform.Platform {
		t.Helper()
		project, again := projects[t.Name()]
		if !again {
			project = projectID()
			projects[t.Name()] = project
		}
		s.cfg.Project, s.cfg.Bucket = project, project
		if !again {
			s.bootstrap(t)
		}
		return open(t, s.cfg, gcp.Deps{Schema: schema})
	}, unchecked)
}

func status(t *testing.T, p *platform.Platform) map[string]error {
	t.Helper()
	out := make(map[string]error)
	for _, s := range p.Check(t.Context()) {
		out[s.Name] = s.Err
	}
	return out
}

func TestWhatIsMissingIsNamedAndHeals(t *testing.T) { //nolint:paralleltest // see TestConformance
	s := newServers(t)
	p := open(t, s.cfg, gcp.Deps{})
	defer closeIt(t, p)
	got := status(t, p)
	for range 20 { // on a busy machine the first answers may come too late
		if got["docs"] == nil && got["secrets"] == nil && !errors.Is(got["blobs"], context.DeadlineExceeded) {
			break
		}
		got = status(t, p)
	}
	if err := got["blobs"]; err == nil || !strings.Contains(err.Error(), s.cfg.Bucket) || !strings.Contains(err.Error(), "bootstrap") {
		t.Errorf("blobs: %v, want the bucket's name and what to do", err) // the one text an operator acts on
	}
	if got["docs"] != nil || got["secrets"] != nil {
		t.Errorf("docs %v, secrets %v", got["docs"], got["secrets"])
	}
	s.bootstrap(t)
	s.bootstrap(t) // again is fine
	platformtest.Serves(t, p)
}

func TestOpenCallsNobody(t *testing.T) { //nolint:paralleltest // see TestConformance
	// Addresses at which nobody answers: a connection would fail or hang.
	away := gcp.Config{
		Project: "p", Bucket: "b", Secrets: gcp.SecretsManager, PubSubEmulator: "127.0.0.1:1", FirestoreEmulator: "127.0.0.1:1",
		StorageEmulator: "127.0.0.1:1", SecretsEmulator: "127.0.0.1:1",
	}
	real := gcp.Config{Project: "p", Bucket: "b", Secrets: gcp.SecretsManager}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none")) // looking for them would fail
	for label, cfg := range map[string]gcp.Config{"emulators that are away": away, "a real project without credentials": real} {
		p := open(t, cfg, gcp.Deps{})
		for name, err := range status(t, p) {
			if err == nil && name != "secrets" { // nobody has asked for one
				t.Errorf("%s: %s can serve", label, name)
			}
		}
		closeIt(t, p)
	}
}

func TestOpenFailsAndLeavesNothingBehind(t *testing.T) { //nolint:paralleltest // see TestConformance
	before := goleak.IgnoreCurrent()
	good := gcp.Config{
		Project: "p", Bucket: "b", Secrets: gcp.SecretsManager, PubSubEmulator: "127.0.0.1:1", FirestoreEmulator: "127.0.0.1:1",
		StorageEmulator: "127.0.0.1:1", SecretsEmulator: "127.0.0.1:1",
	}
	for label, spoil := range map[string]func(*gcp.Config){
		"no project":                 func(c *gcp.Config) { c.Project = "" },
		"no bucket":                  func(c *gcp.Config) { c.Bucket = "" },
		"a key file that is missing": func(c *gcp.Config) { c.SignerKeyFile = filepath.Join(t.TempDir(), "none") },
		"pushes for a service without a mux": func(c *gcp.Config) {
			c.Push = gcp.Push{Subscriptions: []string{events.SubJobCommandsWorker}, Auth: gcp.PushNone}
		},
	} {
		cfg := good
		spoil(&cfg)
		if p, err := gcp.Open(t.Context(), cfg, gcp.Deps{Schema: docstore.Schema{{Name: "things"}}, Logger: quiet()}); err == nil {
			closeIt(t, p)
			t.Errorf("%s: opened", label)
		}
	}
	goleak.VerifyNone(t, before)
}

func TestSecretsFromTheEnvironment(t *testing.T) { //nolint:paralleltest // see TestConformance
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pepper"), []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"CODEXGW_SECRET_OPENAI_API_KEY": "from-env"}
	p := open(t, gcp.Config{
		Project: "p", Bucket: "b", Secrets: gcp.SecretsEnv, SecretsDir: dir,
		PubSubEmulator: "127.0.0.1:1", FirestoreEmulator: "127.0.0.1:1", StorageEmulator: "127.0.0.1:1",
	}, gcp.Deps{LookupEnv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	defer closeIt(t, p)
	for name, want := range map[string]string{"openai-api-key": "from-env", "pepper": "from-file"} {
		if v, err := p.Secrets.Get(t.Context(), name); err != nil || v.Reveal() != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPushesAreMountedBehindTheirAuthentication(t *testing.T) { //nolint:paralleltest // see TestConformance
	mux := http.NewServeMux()
	p := open(t, gcp.Config{
		Project: "p", Bucket: "b", Secrets: gcp.SecretsEnv,
		PubSubEmulator: "127.0.0.1:1", FirestoreEmulator: "127.0.0.1:1", StorageEmulator: "127.0.0.1:1",
		Push: gcp.Push{Subscriptions: []string{events.SubJobCommandsWorker}, Auth: gcp.PushVerify, Audience: "a", Account: "b@c"},
	}, gcp.Deps{PushMux: mux})
	defer closeIt(t, p)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/push/"+events.SubJobCommandsWorker, strings.NewReader("{}")))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("a push without a token: %d, want 401", w.Code)
	}
}

func TestRunAdminOfTheProject(t *testing.T) { //nolint:paralleltest // see TestConformance
	server := gcptest.NewRunAdmin(t)
	server.SetPool("projects/p/locations/r/workerPools/w", 3)
	run, err := gcp.OpenRun(t.Context(), gcp.Config{Project: "p"}, gcp.Run{Region: "r", Emulator: server.Addr})
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	if n, err := run.Pool("w").Size(t.Context()); err != nil || n != 3 {
		t.Errorf("size %d %v", n, err)
	}
}

func TestBootstrapLeavesARealProjectAlone(t *testing.T) { //nolint:paralleltest // see TestConformance
	err := gcp.Bootstrap(t.Context(), gcp.Config{Project: "p", Bucket: "b"}, platform.BootstrapOptions{Logger: quiet()})
	if !errors.Is(err, gcp.ErrRealProject) {
		t.Errorf("error %v, want ErrRealProject", err)
	}
}

func TestRequestsOfTheBucketCanBeCounted(t *testing.T) { //nolint:paralleltest // see TestConformance
	s := newServers(t)
	s.storage.CreateBucket(s.cfg.Bucket)
	seen := map[string]int{}
	var mu sync.Mutex
	p := open(t, s.cfg, gcp.Deps{WrapHTTP: func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			seen[r.Method]++
			return next.RoundTrip(r)
		})
	}})
	defer closeIt(t, p)
	if err := p.WriteBlob(t.Context(), "x", []byte("text"), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Blobs.ReadAll(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	// A write of a new blob: store it (class A). A read: one (class B).
	if want := map[string]int{http.MethodGet: 1, http.MethodPost: 1}; !maps.Equal(seen, want) {
		t.Errorf("requests %v, want %v", seen, want)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestConfigReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	emulators := map[string]string{
		"PUBSUB_EMULATOR_HOST": "127.0.0.1:1", "FIRESTORE_EMULATOR_HOST": "127.0.0.1:2",
		"STORAGE_EMULATOR_HOST": "http://127.0.0.1:3/", "SECRET_MANAGER_EMULATOR_HOST": "127.0.0.1:4",
	}
	with := func(base map[string]string, more ...string) map[string]string {
		out := maps.Clone(base)
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	real := map[string]string{"GOOGLE_CLOUD_PROJECT": "p", "CODEXGW_BUCKET": "b"}
	maps.Copy(emulators, real)
	for label, c := range map[string]struct {
		env  map[string]string
		want []string // variables that the problems name, in order
	}{
		"a real project":            {env: real},
		"all emulators":             {env: emulators},
		"secrets by env":            {env: with(emulators, "SECRET_MANAGER_EMULATOR_HOST", "", "CODEXGW_SECRETS", "env")},
		"nothing":                   {env: map[string]string{}, want: []string{"GOOGLE_CLOUD_PROJECT", "CODEXGW_BUCKET"}},
		"one emulator missing":      {env: with(emulators, "STORAGE_EMULATOR_HOST", ""), want: []string{"PUBSUB_EMULATOR_HOST"}},
		"half of it real":           {env: with(emulators, "SECRET_MANAGER_EMULATOR_HOST", ""), want: []string{"PUBSUB_EMULATOR_HOST"}},
		"no port":                   {env: with(emulators, "STORAGE_EMULATOR_HOST", "localhost"), want: []string{"STORAGE_EMULATOR_HOST"}},
		"links without an emulator": {env: with(real, "CODEXGW_STORAGE_LINK_HOST", "localhost:1"), want: []string{"CODEXGW_STORAGE_LINK_HOST"}},
		"two signers":               {env: with(real, "CODEXGW_SIGNER_EMAIL", "a@b", "CODEXGW_SIGNER_KEY_FILE", "f"), want: []string{"CODEXGW_SIGNER_EMAIL"}},
		"push that is verified":     {env: with(real, "CODEXGW_PUSH_SUBSCRIPTIONS", "s", "CODEXGW_PUSH_AUDIENCE", "a", "CODEXGW_PUSH_ACCOUNT", "b")},
		"push behind IAM":           {env: with(real, "CODEXGW_PUSH_SUBSCRIPTIONS", "s", "CODEXGW_PUSH_AUTH", "iam", "CODEXGW_PUSH_AUDIENCE", "a", "CODEXGW_PUSH_ACCOUNT", "b")},
		"push of nobody":            {env: with(real, "CODEXGW_PUSH_SUBSCRIPTIONS", "s"), want: []string{"CODEXGW_PUSH_AUDIENCE", "CODEXGW_PUSH_ACCOUNT"}},
		"push of anybody":           {env: with(real, "CODEXGW_PUSH_SUBSCRIPTIONS", "s", "CODEXGW_PUSH_AUTH", "none"), want: []string{"CODEXGW_PUSH_AUTH"}},
		"push of anybody, emulated": {env: with(emulators, "CODEXGW_PUSH_SUBSCRIPTIONS", "s", "CODEXGW_PUSH_AUTH", "none")},
		"no such source of secrets": {env: with(real, "CODEXGW_SECRETS", "vault"), want: []string{"CODEXGW_SECRETS"}},
	} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			_, err := chassis.Load[gcp.Config](t.Context(), envconfig.MapLookuper(c.env))
			var wrong *chassis.ConfigError
			if errors.As(err, &wrong) != (len(c.want) > 0) {
				t.Fatalf("error %v", err)
			}
			if wrong == nil {
				return
			}
			if len(wrong.Problems) != len(c.want) {
				t.Fatalf("%d problems, want %d: %v", len(wrong.Problems), len(c.want), err)
			}
			for i, p := range wrong.Problems {
				if !strings.Contains(p.Error(), c.want[i]) { // that a problem names its variable is the promise
					t.Errorf("problem %d does not name %s: %v", i, c.want[i], p)
				}
			}
		})
	}
}
