package pubsubbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/metadata"

	"codexgateway.dev/pkg/bus"
)

const (
	// streamSettles is how long a stream must live to count as fine: opening one
	// tells nothing, the first error comes with the answer.
	streamSettles = 2 * time.Second
	// pingEvery keeps the way to the service open, and finds out when it is not.
	pingEvery = 30 * time.Second
	// streamProtocol asks for an answer to each ping.
	streamProtocol = 1
	// closePatience is how long a receiver that stops waits for the service to
	// end the stream, after what was under way has come.
	closePatience = time.Second
	// outstandingBytes bounds what the service sends beyond the slots' worth of
	// small messages.
	outstandingBytes = 4 * bus.MaxMessageBytes
)

// routing is the header that leads a stream to where its subscription is; the
// client sets it on all other calls.
const routing = "x-goog-request-params"

var errSilent = errors.New("the stream is silent")

// read opens a stream and takes messages off it until it breaks. fine reports
// that it worked for a while; err is why it ended, and only of interest while
// the receiver's context lives.
func (r *receiver) read() (fine bool, err error) {
	// The stream outlives the receiver by a moment, to be closed in order: the
	// emulator goes on sending to a stream that was only cut.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.ctx))
	defer cancel(nil)
	routed := metadata.AppendToOutgoingContext(ctx, routing, "subscription="+url.QueryEscape(r.leases.path))
	stream, err := r.d.client.SubscriptionAdminClient.StreamingPull(routed)
	if err != nil {
		return false, err
	}
	if err := stream.Send(&pubsubpb.StreamingPullRequest{
		Subscription: r.leases.path, ClientId: r.d.clientID, ProtocolVersion: streamProtocol,
		StreamAckDeadlineSeconds: wholeSeconds(r.sub.AckDeadline),
		MaxOutstandingMessages:   int64(r.slots), MaxOutstandingBytes: outstandingBytes,
	}); err != nil && !errors.Is(err, io.EOF) { // after EOF Recv says why
		return false, err
	}
	// Either it settles or it ends first: a timer that fires at the end must not
	// call a receiver sound after its trouble was noted.
	var first sync.Once
	settle := func() {
		first.Do(func() {
			fine = true
			r.d.hears(r)
		})
	}
	timer := time.AfterFunc(streamSettles, settle)
	defer timer.Stop()
	pulse := newWatch(r, stream, cancel)
	defer pulse.end()
	for {
		res, err := stream.Recv()
		if err != nil {
			first.Do(func() {})
			if errors.Is(context.Cause(ctx), errSilent) {
				err = fmt.Errorf("%w: %w", errSilent, err)
			}
			return fine, err
		}
		pulse.heard(res)
		settle()
		for _, raw := range res.GetReceivedMessages() {
			r.arrive(r.leases.newLease(raw))
		}
	}
}

// watch is one stream's pulse.
type watch struct {
	stream pubsubpb.Subscriber_StreamingPullClient
	cancel context.CancelCauseFunc
	stop   chan struct{}
	done   chan struct{}
	// lastBeat is when the last empty answer came, Unix nanoseconds; 0: none yet.
	lastBeat atomic.Int64
}

func newWatch(r *receiver, stream pubsubpb.Subscriber_StreamingPullClient, cancel context.CancelCauseFunc) *watch {
	w := &watch{stream: stream, cancel: cancel, stop: make(chan struct{}), done: make(chan struct{})}
	go w.run(r)
	return w
}

func (w *watch) end() {
	close(w.stop)
	<-w.done
}

func (w *watch) heard(res *pubsubpb.StreamingPullResponse) {
	if len(res.GetReceivedMessages()) == 0 || w.lastBeat.Load() != 0 {
		w.lastBeat.Store(time.Now().UnixNano())
	}
}

// run pings the service, and ends a stream whose service used to answer and
// does not any more: a connection that lost its other side looks like an idle
// one. The emulator never answers a ping. When the receiver ends or stays full
// it closes the stream, and cuts it when the service does not follow.
func (w *watch) run(r *receiver) {
	defer close(w.done)
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-r.ctx.Done():
			w.closeSend()
			return
		case <-r.full:
			if r.isFull() {
				w.closeSend()
				return
			}
			continue
		case <-tick.C:
		}
		if last := w.lastBeat.Load(); last != 0 && time.Since(time.Unix(0, last)) > 3*pingEvery {
			w.cancel(errSilent)
			return
		}
		if err := w.stream.Send(&pubsubpb.StreamingPullRequest{}); err != nil {
			return // Recv says why
		}
	}
}

func (w *watch) closeSend() {
	if err := w.stream.CloseSend(); err == nil {
		patience := time.NewTimer(closePatience)
		defer patience.Stop()
		select {
		case <-w.stop:
			return
		case <-patience.C:
		}
	}
	w.cancel(nil)
}
