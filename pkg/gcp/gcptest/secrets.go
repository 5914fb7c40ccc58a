package gcptest

import (
	"context"
	"hash/crc32"
	"net"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Secrets is a Secret Manager in this process that serves AccessSecretVersion
// of "latest" over plaintext gRPC. It answers as the service is documented to:
// NotFound for no secret or no version, FailedPrecondition for a version that
// is disabled or destroyed.
type Secrets struct {
	secretmanagerpb.UnimplementedSecretManagerServiceServer

	// Addr is host:port, the value of SECRET_MANAGER_EMULATOR_HOST.
	Addr   string
	server *grpc.Server
	done   chan struct{}

	mu       sync.Mutex
	versions map[string][]version // by projects/P/secrets/NAME, oldest first
	accesses map[string]int
	failing  codes.Code
	failures int
	corrupt  bool
}

// version is one version of a secret.
type version struct {
	data  []byte
	state secretmanagerpb.SecretVersion_State
}

// StartSecrets starts a server at addr; empty: a free loopback port.
func StartSecrets(ctx context.Context, addr string) (*Secrets, error) {
	ln, err := listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	s := &Secrets{
		Addr: ln.Addr().String(), server: grpc.NewServer(), done: make(chan struct{}),
		versions: make(map[string][]version), accesses: make(map[string]int),
	}
	secretmanagerpb.RegisterSecretManagerServiceServer(s.server, s)
	go s.serve(ln)
	return s, nil
}

func (s *Secrets) serve(ln net.Listener) {
	defer close(s.done)
	_ = s.server.Serve(ln) // ends with Stop
}

// NewSecrets is a server that ends with tb.
func NewSecrets(tb testing.TB) *Secrets {
	tb.Helper()
	s, err := StartSecrets(tb.Context(), "")
	return ending(tb, s, err)
}

// Stop ends the server and its connections. Stopping twice is fine.
func (s *Secrets) Stop() error {
	s.server.Stop()
	<-s.done
	return nil
}

func resource(project, name string) string { return "projects/" + project + "/secrets/" + name }

// Add makes value the newest version of a secret, which it creates.
func (s *Secrets) Add(project, name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := resource(project, name)
	s.versions[key] = append(s.versions[key], version{[]byte(value), secretmanagerpb.SecretVersion_ENABLED})
}

// Set changes the state of the newest version: disabled, destroyed or enabled.
func (s *Secrets) Set(project, name string, state secretmanagerpb.SecretVersion_State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.versions[resource(project, name)]; len(all) > 0 {
		all[len(all)-1].state = state
	}
}

// Delete removes a secret with all its versions.
func (s *Secrets) Delete(project, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.versions, resource(project, name))
}

// Fail makes the next times calls fail with code.
func (s *Secrets) Fail(code codes.Code, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing, s.failures = code, times
}

// Corrupt flips a bit of every payload after its checksum was taken.
func (s *Secrets) Corrupt(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.corrupt = on
}

// Accesses is how often a secret was asked for.
func (s *Secrets) Accesses(project, name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accesses[resource(project, name)]
}

var latest = regexp.MustCompile(`^(projects/[^/]+/secrets/[a-zA-Z0-9_-]{1,255})/versions/latest$`)

// AccessSecretVersion implements the service.
func (s *Secrets) AccessSecretVersion(_ context.Context, req *secretmanagerpb.AccessSecretVersionRequest) (*secretmanagerpb.AccessSecretVersionResponse, error) {
	name := latest.FindStringSubmatch(req.GetName())
	if name == nil {
		return nil, status.Error(codes.InvalidArgument, "not the latest version of a secret")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accesses[name[1]]++
	if s.failures > 0 {
		s.failures--
		return nil, status.Error(s.failing, "injected")
	}
	all := s.versions[name[1]]
	if len(all) == 0 {
		return nil, status.Error(codes.NotFound, "Secret or version not found.")
	}
	v := all[len(all)-1]
	if v.state != secretmanagerpb.SecretVersion_ENABLED {
		return nil, status.Errorf(codes.FailedPrecondition, "Secret Version is in %s state.", v.state)
	}
	sum := int64(crc32.Checksum(v.data, crc32.MakeTable(crc32.Castagnoli)))
	data := append([]byte(nil), v.data...)
	if s.corrupt && len(data) > 0 {
		data[0] ^= 1
	}
	return &secretmanagerpb.AccessSecretVersionResponse{
		Name:    name[1] + "/versions/" + strconv.Itoa(len(all)),
		Payload: &secretmanagerpb.SecretPayload{Data: data, DataCrc32C: &sum},
	}, nil
}
