package meter

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"codexgateway.dev/pkg/gcp/gcptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, gcptest.Leaks()...) }

// cloud answers as the test wants.
type cloud struct {
	firestorepb.UnimplementedFirestoreServer
	pubsubpb.UnimplementedPublisherServer
	pubsubpb.UnimplementedSubscriberServer

	err error
	// found is how many documents a query or a get finds, missing how many of a
	// get it does not.
	found, missing int
	// sizes are of the messages that a pull delivers.
	sizes []int
}

func (c *cloud) Commit(context.Context, *firestorepb.CommitRequest) (*firestorepb.CommitResponse, error) {
	return &firestorepb.CommitResponse{}, c.err
}

func (c *cloud) RunQuery(_ *firestorepb.RunQueryRequest, s firestorepb.Firestore_RunQueryServer) error {
	for range c.found {
		if err := s.Send(&firestorepb.RunQueryResponse{Document: &firestorepb.Document{Name: "d"}}); err != nil {
			return err
		}
	}
	if c.err != nil {
		return c.err
	}
	return s.Send(&firestorepb.RunQueryResponse{}) // the time of the read
}

func (c *cloud) BatchGetDocuments(_ *firestorepb.BatchGetDocumentsRequest, s firestorepb.Firestore_BatchGetDocumentsServer) error {
	for range c.found {
		if err := s.Send(&firestorepb.BatchGetDocumentsResponse{Result: &firestorepb.BatchGetDocumentsResponse_Found{Found: &firestorepb.Document{}}}); err != nil {
			return err
		}
	}
	for range c.missing {
		if err := s.Send(&firestorepb.BatchGetDocumentsResponse{Result: &firestorepb.BatchGetDocumentsResponse_Missing{Missing: "d"}}); err != nil {
			return err
		}
	}
	return c.err
}

func (c *cloud) Publish(context.Context, *pubsubpb.PublishRequest) (*pubsubpb.PublishResponse, error) {
	return &pubsubpb.PublishResponse{}, c.err
}

func (c *cloud) StreamingPull(s pubsubpb.Subscriber_StreamingPullServer) error {
	res := &pubsubpb.StreamingPullResponse{}
	for _, n := range c.sizes {
		res.ReceivedMessages = append(res.ReceivedMessages, &pubsubpb.ReceivedMessage{Message: message(n)})
	}
	return errors.Join(s.Send(res), c.err)
}

// message is one of n bytes on the wire: the data's tag and length take three.
func message(n int) *pubsubpb.PubsubMessage {
	return &pubsubpb.PubsubMessage{Data: make([]byte, n-3)}
}

// drain reads a stream to its end.
func drain[T any, S interface{ Recv() (*T, error) }](s S, err error) error {
	for err == nil {
		_, err = s.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func TestCallsAreCountedAsTheyAreBilled(t *testing.T) {
	t.Parallel()
	query := func(ctx context.Context, cc *grpc.ClientConn) error {
		return drain(firestorepb.NewFirestoreClient(cc).RunQuery(ctx, &firestorepb.RunQueryRequest{}))
	}
	get := func(ctx context.Context, cc *grpc.ClientConn) error {
		return drain(firestorepb.NewFirestoreClient(cc).BatchGetDocuments(ctx, &firestorepb.BatchGetDocumentsRequest{}))
	}
	commit := func(ctx context.Context, cc *grpc.ClientConn) error {
		update := &firestorepb.Write{Operation: &firestorepb.Write_Update{Update: &firestorepb.Document{Name: "a"}}}
		del := &firestorepb.Write{Operation: &firestorepb.Write_Delete{Delete: "b"}}
		_, err := firestorepb.NewFirestoreClient(cc).Commit(ctx, &firestorepb.CommitRequest{Writes: []*firestorepb.Write{update, del, update, del, del}})
		return err
	}
	publish := func(sizes ...int) func(context.Context, *grpc.ClientConn) error {
		return func(ctx context.Context, cc *grpc.ClientConn) error {
			req := &pubsubpb.PublishRequest{}
			for _, n := range sizes {
				req.Messages = append(req.Messages, message(n))
			}
			_, err := pubsubpb.NewPublisherClient(cc).Publish(ctx, req)
			return err
		}
	}
	pull := func(ctx context.Context, cc *grpc.ClientConn) error {
		s, err := pubsubpb.NewSubscriberClient(cc).StreamingPull(ctx)
		for err == nil {
			_, err = s.Recv()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	away := status.Error(codes.Unavailable, "away")
	for name, tc := range map[string]struct {
		server cloud
		call   func(context.Context, *grpc.ClientConn) error
		want   Counts
	}{
		"a query without a result":          {cloud{}, query, Counts{DocReads: 1}},
		"a query with one":                  {cloud{found: 1}, query, Counts{DocReads: 1}},
		"a query with three":                {cloud{found: 3}, query, Counts{DocReads: 3}},
		"a query that fails":                {cloud{err: away}, query, Counts{}},
		"a query that fails on its way":     {cloud{found: 2, err: away}, query, Counts{DocReads: 2}},
		"a document":                        {cloud{found: 1}, get, Counts{DocReads: 1}},
		"a missing document":                {cloud{missing: 1}, get, Counts{DocReads: 1}},
		"a get that fails":                  {cloud{err: away}, get, Counts{}},
		"writes and deletes of a commit":    {cloud{}, commit, Counts{DocWrites: 2, DocDeletes: 3}},
		"a commit that fails":               {cloud{err: away}, commit, Counts{}},
		"a small message":                   {cloud{}, publish(200), Counts{Published: 1, PublishBytes: 1000}},
		"small messages in one request":     {cloud{}, publish(200, 300), Counts{Published: 2, PublishBytes: 1000}},
		"a large message":                   {cloud{}, publish(1500), Counts{Published: 1, PublishBytes: 1500}},
		"a message that is not taken":       {cloud{err: away}, publish(200), Counts{}},
		"a small delivery":                  {cloud{sizes: []int{200}}, pull, Counts{DeliverBytes: 1000}},
		"deliveries in one answer":          {cloud{sizes: []int{200, 1300}}, pull, Counts{DeliverBytes: 1500}},
		"a stream that delivers nothing":    {cloud{}, pull, Counts{}},
		"a stream that ends without answer": {cloud{err: away}, pull, Counts{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m Meter
			err := tc.call(t.Context(), dial(t, &tc.server, &m))
			if status.Code(err) != status.Code(tc.server.err) {
				t.Errorf("error %v, want %v", err, tc.server.err)
			}
			if diff := cmp.Diff(tc.want, m.Counts()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// dial is a connection to a server, seen by a meter.
func dial(t *testing.T, c *cloud, m *Meter) *grpc.ClientConn {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	firestorepb.RegisterFirestoreServer(s, c)
	pubsubpb.RegisterPublisherServer(s, c)
	pubsubpb.RegisterSubscriberServer(s, c)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	cc, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(m.unary), grpc.WithChainStreamInterceptor(m.stream))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cc.Close(); err != nil {
			t.Error(err)
		}
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return cc
}

func TestCountsAddAndSubtract(t *testing.T) {
	t.Parallel()
	a := Counts{
		DocReads: 1, DocWrites: 2, DocDeletes: 3, PublishBytes: 4, DeliverBytes: 5, Published: 6,
		BlobWrites: 7, BlobReads: 8, BlobBytes: 9, SecretReads: 10,
	}
	if got := a.Add(a).Sub(a); got != a {
		t.Errorf("%+v", got)
	}
}
