package gcsblobs_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/storage"
	"github.com/google/go-cmp/cmp"
	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"codexgateway.dev/pkg/gcp/gcsblobs"
	"codexgateway.dev/pkg/secret"
)

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// token is a credential that needs no network.
type token struct{}

func (token) Token(context.Context) (*auth.Token, error) {
	return &auth.Token{Value: "t0ken", Type: "Bearer", Expiry: time.Now().Add(time.Hour)}, nil
}

func credentials() *auth.Credentials {
	return auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: token{}})
}

// The published vectors say what a V4 signature of a given second is. They know
// no response-content-disposition, which is taken away for them.
func TestSignaturesMatchThePublishedVectors(t *testing.T) {
	t.Parallel()
	var file struct {
		Vectors []struct {
			Description, Bucket, Object, Method, Hostname string
			Expiration                                    int
			Timestamp                                     time.Time
			Headers                                       map[string]string
			QueryParameters                               map[string]string `json:"queryParameters"` //nolint:tagliatelle // the vectors' name
			ExpectedURL                                   string            `json:"expectedUrl"`     //nolint:tagliatelle // the vectors' name
		} `json:"vectors"`
	}
	if err := json.Unmarshal(read(t, "testdata/v4_signatures.json"), &file); err != nil || len(file.Vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(file.Vectors), err)
	}
	key := secret.NewValue(string(read(t, "testdata/v4_service_account.json")))
	for _, v := range file.Vectors {
		t.Run(v.Description, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				<-time.After(time.Until(v.Timestamp)) // the bubble's clock
				cfg := gcsblobs.Config{Bucket: v.Bucket, Credentials: credentials(), SignerKey: key, Now: time.Now}
				if strings.HasPrefix(v.Hostname, "localhost") {
					cfg.Credentials, cfg.Emulator = nil, v.Hostname
				}
				b := open(t, cfg)
				link, err := b.SignedURL(t.Context(), v.Object, &blob.SignedURLOptions{
					Method: v.Method, Expiry: time.Duration(v.Expiration) * time.Second,
					BeforeSign: func(as func(any) bool) error {
						var o *storage.SignedURLOptions
						if !as(&o) {
							t.Fatal("no options")
						}
						o.QueryParameters = url.Values{}
						for k, value := range v.QueryParameters {
							o.QueryParameters.Set(k, value)
						}
						for k, value := range v.Headers {
							o.Headers = append(o.Headers, k+":"+value)
						}
						return nil
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				// The library orders the parameters as it likes.
				if diff := cmp.Diff(parts(t, v.ExpectedURL), parts(t, link)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// parts is a URL with its parameters in order.
func parts(t *testing.T, link string) []string {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return []string{u.Scheme, u.Host, u.EscapedPath(), u.Query().Encode()}
}

func TestALinkLeadsWhereItIsOpened(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]gcsblobs.Config{
		"http://storage:1/":               {Emulator: "http://storage:1/"},
		"http://localhost:2/":             {Emulator: "storage:1", LinkHost: "localhost:2"},
		"https://storage.googleapis.com/": {Credentials: credentials(), SignerKey: secret.NewValue(string(read(t, "testdata/v4_service_account.json")))},
	} {
		cfg.Bucket = "b"
		if link, err := open(t, cfg).SignedURL(t.Context(), "x", nil); err != nil || !strings.HasPrefix(link, want+"b/x?") {
			t.Errorf("%s %v, want %s", link, err, want)
		}
	}
}

func TestALinkForReadingMakesTheBrowserSave(t *testing.T) {
	t.Parallel()
	b := open(t, gcsblobs.Config{Bucket: "b", Emulator: "localhost:1"})
	for key, want := range map[string]string{
		"jobs/1/diff.patch":  "attachment; filename=diff.patch",
		"jobs/1/a \"b\".txt": `attachment; filename="a \"b\".txt"`,
		"jobs/1/ä.txt":       "attachment; filename*=utf-8''%C3%A4.txt",
	} {
		link, err := b.SignedURL(t.Context(), key, nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.Query().Get("response-content-disposition"); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
		if u.Scheme != "http" || u.Host != "localhost:1" || u.Path != "/b/"+key {
			t.Errorf("%s leads to %s://%s%s", key, u.Scheme, u.Host, u.Path)
		}
		if got := u.Query().Get("X-Goog-Expires"); got != "3599" && got != "3600" {
			t.Errorf("expires after %s s", got)
		}
	}
	link, err := b.SignedURL(t.Context(), "x", &blob.SignedURLOptions{Method: http.MethodPut})
	if err != nil || strings.Contains(link, "response-content-disposition") {
		t.Errorf("a link for writing: %s %v", link, err)
	}
}

// signBlob is IAM Credentials: it answers each request with the next status, and
// the hash of what it was to sign.
func signBlob(t *testing.T, statuses ...int) (endpoint string, calls *atomic.Int64) {
	t.Helper()
	calls = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(calls.Add(1))
		var body struct{ Payload string }
		err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&body)
		payload, err2 := base64.StdEncoding.DecodeString(body.Payload)
		switch {
		case err != nil || err2 != nil || r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer t0ken",
			r.URL.Path != "/v1/projects/-/serviceAccounts/edge@p.iam.gserviceaccount.com:signBlob":
			http.Error(w, "not what was expected", http.StatusTeapot)
		case n <= len(statuses):
			http.Error(w, "injected", statuses[n-1])
		default:
			sum := sha256.Sum256(payload)
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]string{"signedBlob": base64.StdEncoding.EncodeToString(sum[:])})
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, calls
}

func signing(t *testing.T, endpoint, email string) *blob.Bucket {
	t.Helper()
	return open(t, gcsblobs.Config{Bucket: "b", Credentials: credentials(), SignerEmail: email, SignerEndpoint: endpoint})
}

func TestIAMSignsInTheNameOfTheServiceAccount(t *testing.T) {
	t.Parallel()
	for label, failures := range map[string][]int{"at once": nil, "after passing failures": {http.StatusServiceUnavailable, http.StatusTooManyRequests}} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			endpoint, calls := signBlob(t, failures...)
			b := signing(t, endpoint, "edge@p.iam.gserviceaccount.com")
			link, err := b.SignedURL(t.Context(), "x", nil)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(link)
			if err != nil {
				t.Fatal(err)
			}
			if got := u.Query().Get("X-Goog-Credential"); !strings.HasPrefix(got, "edge@p.iam.gserviceaccount.com/") {
				t.Errorf("credential %q", got)
			}
			if got := u.Query().Get("X-Goog-Signature"); len(got) != 2*sha256.Size {
				t.Errorf("signature %q is not the one that IAM gave", got)
			}
			if u.Host != "storage.googleapis.com" || u.Scheme != "https" {
				t.Errorf("leads to %s://%s", u.Scheme, u.Host)
			}
			if got := calls.Load(); got != int64(len(failures))+1 {
				t.Errorf("%d calls", got)
			}
		})
	}
}

func TestIAMRefusingIsAnErrorAtOnce(t *testing.T) {
	t.Parallel()
	endpoint, calls := signBlob(t, http.StatusForbidden)
	b := signing(t, endpoint, "edge@p.iam.gserviceaccount.com")
	if link, err := b.SignedURL(t.Context(), "x", nil); gcerrors.Code(err) != gcerrors.PermissionDenied {
		t.Errorf("%s, error %v, want PermissionDenied", link, err)
	}
	if got := calls.Load(); got != 1 {
		t.Errorf("%d calls, want 1", got)
	}
}

// Not parallel: the metadata server is found by a variable.
func TestTheAccountIsThatOfTheInstanceWhenNoneIsNamed(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/email" || r.Header.Get("Metadata-Flavor") != "Google" {
			http.NotFound(w, r)
			return
		}
		asked.Add(1)
		w.Header().Set("Metadata-Flavor", "Google")
		_, _ = io.WriteString(w, "edge@p.iam.gserviceaccount.com\n")
	}))
	defer server.Close()
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	endpoint, _ := signBlob(t)
	b := signing(t, endpoint, "")
	for range 2 {
		if _, err := b.SignedURL(t.Context(), "x", nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := asked.Load(); got != 1 {
		t.Errorf("the metadata server was asked %d times, want once", got)
	}
}

func TestAKeyThatIsNoneIsRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"hunter2", `{"client_email":"a@b"}`, `{"client_email":"a@b","private_key":"hunter2"}`,
		`{"client_email":"a@b","private_key":"-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n"}`,
	} {
		b, err := gcsblobs.Open(t.Context(), gcsblobs.Config{Bucket: "b", Credentials: credentials(), SignerKey: secret.NewValue(key)})
		if err == nil {
			_ = b.Close()
			t.Errorf("opened with %q", key)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}
