package bustest

import (
	"context"
	"fmt"
	"strings"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/bus"
)

func everyoneHears(r *rig) {
	r.publish("past", 3)
	all := make([]*heard, 4)
	for i := range all {
		all[i] = newHeard()
		r.receive(instance, 2, all[i].always(bus.Ack))
	}
	r.publish("m", 20)
	for i, l := range all {
		for id := range r.ids(l, 20) {
			if !strings.HasPrefix(id, "m") {
				r.Errorf("instance %d heard the past: %s", i, id)
			}
		}
	}
}

func goneWithInstance(r *rig) {
	stays, ends := newHeard(), newHeard()
	r.receive(instance, 1, stays.always(bus.Ack))
	rcv := r.receive(instance, 1, ends.always(bus.Ack))
	r.publishOne("a")
	r.ids(stays, 1)
	r.ids(ends, 1)
	rcv.stop(r)
	r.publishOne("b")
	if id := r.next(stays, 0).Event.ID(); id != "b" {
		r.Errorf("the instance that stays heard %s, want b", id)
	}
	again := newHeard()
	r.receive(instance, 1, again.always(bus.Ack))
	r.publishOne("c")
	if id := r.next(again, 0).Event.ID(); id != "c" {
		r.Errorf("the new instance heard %s, want c only", id)
	}
	r.quiet(ends, "an ended instance heard something")
}

func exact(r *rig) {
	json := r.event("json")
	json.DataEncoded = []byte("{ \"a\" :  1,\n\t\"b\": \"<&>\u2028é\" }")
	json.SetExtension(events.ExtTraceParent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	binary := r.event("binary")
	binary.SetDataContentType("application/octet-stream")
	binary.DataEncoded = make([]byte, 256)
	for i := range binary.DataEncoded {
		binary.DataEncoded[i] = byte(i)
	}
	l := newHeard()
	r.receive(shared, 4, l.always(bus.Ack))
	for _, want := range []events.Event{json, binary} {
		if err := r.d.Publish(r.Context(), topic, want); err != nil {
			r.Fatalf("publish: %v", err)
		}
		d := r.next(l, 0)
		if got, want := describe(&d.Event), describe(&want); got != want {
			r.Errorf("event\n got %s\nwant %s", got, want)
		}
		if d.PublishedAt.IsZero() {
			r.Error("PublishedAt is zero")
		}
		if d.Attempt != 1 {
			r.Errorf("Attempt is %d, want 1", d.Attempt)
		}
	}
}

// describe renders everything an event carries.
func describe(ev *events.Event) string {
	return fmt.Sprintf("%s|%s|%s|%s|%s|%s|%s|%s|%v|%q", ev.SpecVersion(), ev.ID(), ev.Source(), ev.Type(),
		ev.Time().UTC().Format("2006-01-02T15:04:05.000000Z"), ev.Subject(), ev.DataSchema(), ev.DataContentType(),
		ev.Extensions(), ev.Data())
}

func ownAttributes(r *rig) {
	a, b := newHeard(), newHeard()
	change := func(l *heard) bus.Handler {
		return func(_ context.Context, d *bus.Delivery) bus.Outcome {
			before := *d
			before.Event = d.Event.Clone()
			d.Event.SetID("changed")
			d.Event.SetExtension("extra", "x")
			l.ch <- &before
			return bus.Outcome{Verdict: bus.Ack}
		}
	}
	r.receive(shared, 1, change(a))
	r.receive(second, 1, change(b))
	ev := r.event("m")
	want := describe(&ev)
	if err := r.d.Publish(r.Context(), topic, ev); err != nil {
		r.Fatalf("publish: %v", err)
	}
	ev.SetID("changed by the publisher")
	for _, l := range []*heard{a, b} {
		d := r.next(l, 0)
		if got := describe(&d.Event); got != want {
			r.Errorf("event\n got %s\nwant %s", got, want)
		}
	}
}
