package firestoredocs_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/gcp/firestoredocs"
)

// fake is a Firestore that answers as the test says. What it lacks is
// Unimplemented.
type fake struct {
	firestorepb.UnimplementedFirestoreServer
	// fail answers the named calls (Commit, BatchGetDocuments, RunQuery).
	fail map[string]error
	// results answers a commit.
	results []*firestorepb.WriteResult
	// docs are the stored documents by name.
	docs map[string]*firestorepb.Document
	// blocked, if set, hears of each call, which then hangs until its end.
	blocked chan struct{}

	mu      sync.Mutex
	calls   map[string]int
	headers []metadata.MD
	commit  *firestorepb.CommitRequest
	query   *firestorepb.StructuredQuery
}

func (f *fake) begin(ctx context.Context, call string) error {
	md, _ := metadata.FromIncomingContext(ctx)
	f.mu.Lock()
	f.calls[call]++
	f.headers = append(f.headers, md)
	err := f.fail[call]
	f.mu.Unlock()
	if f.blocked != nil {
		f.blocked <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// set changes the answer to a call while the server runs.
func (f *fake) set(call string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail[call] = err
}

func (f *fake) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[call]
}

func (f *fake) Commit(ctx context.Context, req *firestorepb.CommitRequest) (*firestorepb.CommitResponse, error) {
	if err := f.begin(ctx, "Commit"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commit = req
	return &firestorepb.CommitResponse{WriteResults: f.results}, nil
}

func (f *fake) BatchGetDocuments(req *firestorepb.BatchGetDocumentsRequest, out firestorepb.Firestore_BatchGetDocumentsServer) error {
	if err := f.begin(out.Context(), "BatchGetDocuments"); err != nil {
		return err
	}
	for _, name := range req.GetDocuments() {
		res := &firestorepb.BatchGetDocumentsResponse{Result: &firestorepb.BatchGetDocumentsResponse_Missing{Missing: name}}
		if doc := f.docs[name]; doc != nil {
			res.Result = &firestorepb.BatchGetDocumentsResponse_Found{Found: doc}
		}
		if err := out.Send(res); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) RunQuery(req *firestorepb.RunQueryRequest, out firestorepb.Firestore_RunQueryServer) error {
	if err := f.begin(out.Context(), "RunQuery"); err != nil {
		return err
	}
	f.mu.Lock()
	f.query = req.GetStructuredQuery()
	f.mu.Unlock()
	// Firestore reports progress without a document.
	if err := out.Send(&firestorepb.RunQueryResponse{SkippedResults: 1}); err != nil {
		return err
	}
	for _, doc := range f.docs {
		if err := out.Send(&firestorepb.RunQueryResponse{Document: doc}); err != nil {
			return err
		}
	}
	return nil
}

const fakeProject = "p"

// name is the resource name of a document in the fake's default database.
func name(k docstore.Key) string {
	return "projects/" + fakeProject + "/databases/(default)/documents/" + k.Collection + "/" + k.ID
}

// stored is a document as Firestore keeps it.
func stored(k docstore.Key, v docstore.Version, fields map[string]*firestorepb.Value) *firestorepb.Document {
	return &firestorepb.Document{Name: name(k), Fields: fields, UpdateTime: timestamppb.New(time.UnixMicro(int64(v)))}
}

func bytesValue() *firestorepb.Value {
	return &firestorepb.Value{ValueType: &firestorepb.Value_BytesValue{BytesValue: []byte("x")}}
}

// serve runs the fake and returns a driver of it.
func serve(t *testing.T, f *fake, cfg firestoredocs.Config) *firestoredocs.Driver {
	t.Helper()
	cfg.Project, cfg.Emulator = fakeProject, fakeAddr
	cfg.Options = append(cfg.Options, listen(t, f))
	return openConfig(t, cfg, fakeSchema)
}

const fakeAddr = "passthrough:///fake"

// listen runs the fake and returns how to reach it, whatever the address.
func listen(t *testing.T, f *fake) option.ClientOption {
	t.Helper()
	if f.fail == nil {
		f.fail = make(map[string]error)
	}
	f.calls = make(map[string]int)
	listener, server := bufconn.Listen(1<<20), grpc.NewServer()
	firestorepb.RegisterFirestoreServer(server, f)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return option.WithGRPCDialOption(grpc.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
}

var fakeSchema = docstore.Schema{{
	Name: "things",
	Fields: []docstore.Field{
		{Name: "owner", Kind: docstore.String}, {Name: "rank", Kind: docstore.Int}, {Name: "expires_at", Kind: docstore.Int},
	},
	Indexes: []docstore.Index{{Name: "by_rank", Equal: []string{"owner"}, Order: "rank", Read: docstore.BothWays}},
	Expires: "expires_at",
}}

func thing(id string) docstore.Key { return docstore.Key{Collection: "things", ID: id} }

func byRank(limit int) docstore.Query {
	return docstore.Query{Collection: "things", Index: "by_rank", Equal: []any{"o"}, Limit: limit}
}

func failure(c codes.Code) error { return status.Error(c, "as the test says") }
