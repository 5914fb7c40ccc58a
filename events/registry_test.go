package events_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"codexgateway.dev/events"
)

func TestTypesFollowTheForm(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^dev\.codexgateway\.[a-z]+\.([a-z]+_)*([a-z]+ed|timed_out)\.v[1-9][0-9]*$`)
	types, payloads := make(map[string]bool), make(map[reflect.Type]bool)
	for _, spec := range events.Registry {
		if !form.MatchString(spec.Type) {
			t.Errorf("%s is not dev.codexgateway.<noun>.<past participle>.v<major>", spec.Type)
		}
		if types[spec.Type] {
			t.Errorf("%s is registered twice", spec.Type)
		}
		types[spec.Type] = true
		if payload := reflect.TypeOf(spec.New()); payload.Kind() != reflect.Pointer || payloads[payload] {
			t.Errorf("%s: payload %v is no pointer or belongs to another type too", spec.Type, payload)
		} else {
			payloads[payload] = true
		}
		if !strings.HasSuffix(spec.Doc, ".") {
			t.Errorf("%s: doc %q is no sentence", spec.Type, spec.Doc)
		}
		if found, ok := events.Lookup(spec.Type); !ok || found.Topic != spec.Topic {
			t.Errorf("%s cannot be looked up", spec.Type)
		}
	}
	if _, ok := events.Lookup("dev.codexgateway.job.submitted"); ok {
		t.Error("found a type that is not registered")
	}
}

func TestTopicsCarryTypesAndHaveReaders(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	topics := make(map[string]bool)
	for _, topic := range events.Topics {
		if topics[topic.Name] || !name.MatchString(topic.Name) || len(topic.From) == 0 || !strings.HasSuffix(topic.Doc, ".") {
			t.Errorf("topic %+v is declared twice or incompletely", topic)
		}
		topics[topic.Name] = true
	}
	carries, read := make(map[string]bool), make(map[string]bool)
	for _, spec := range events.Registry {
		if carries[spec.Topic] = true; !topics[spec.Topic] {
			t.Errorf("%s goes to the undeclared topic %s", spec.Type, spec.Topic)
		}
	}
	for _, sub := range events.Subscriptions {
		if read[sub.Topic] = true; !topics[sub.Topic] {
			t.Errorf("%s reads the undeclared topic %s", sub.Name, sub.Topic)
		}
	}
	for topic := range topics {
		if !carries[topic] || !read[topic] {
			t.Errorf("%s carries a type: %v, has a reader: %v", topic, carries[topic], read[topic])
		}
	}
}

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, sub := range events.Subscriptions {
		want := sub.Topic + "." + sub.Service
		if sub.Lane != "" {
			want += "-" + sub.Lane
		}
		if sub.Name != want || names[sub.Name] {
			t.Errorf("%s is not %s, or there twice", sub.Name, want)
		}
		if sub.Retention < 10*time.Minute || sub.Retention > 7*24*time.Hour || (sub.Lane != "") != (sub.InsteadOf != "") {
			t.Errorf("%s: retention %v, lane %q instead of %q", sub.Name, sub.Retention, sub.Lane, sub.InsteadOf)
		}
		names[sub.Name] = true
		// https://cloud.google.com/pubsub/docs/subscription-properties
		if sub.AckDeadline < 10*time.Second || sub.AckDeadline > 10*time.Minute || sub.MaxExtension < sub.AckDeadline {
			t.Errorf("%s: ack deadline %v, extension %v", sub.Name, sub.AckDeadline, sub.MaxExtension)
		}
		switch sub.Mode {
		case events.Shared:
			if sub.ExpireAfter != 0 {
				t.Errorf("%s expires: its backlog would go with it", sub.Name)
			}
			if sub.DeadLetter != sub.Name+".dlq" {
				t.Errorf("%s: dead letter %q", sub.Name, sub.DeadLetter)
			}
			if sub.MinBackoff <= 0 || sub.MaxBackoff < sub.MinBackoff || sub.MaxBackoff > 10*time.Minute {
				t.Errorf("%s: backoff %v to %v", sub.Name, sub.MinBackoff, sub.MaxBackoff)
			}
			if sub.MaxDeliveries != 0 && (sub.MaxDeliveries < 5 || sub.MaxDeliveries > 100) {
				t.Errorf("%s: %d deliveries, Pub/Sub takes 5 to 100", sub.Name, sub.MaxDeliveries)
			}
		case events.PerInstance:
			if sub.ExpireAfter < 24*time.Hour {
				t.Errorf("%s: expires after %v, Pub/Sub takes a day or more", sub.Name, sub.ExpireAfter)
			}
			if sub.DeadLetter != "" || sub.MaxDeliveries != 0 {
				t.Errorf("%s: an instance's subscription ends with it and has no dead letter", sub.Name)
			}
		default:
			t.Errorf("%s: mode %q", sub.Name, sub.Mode)
		}
	}
	for _, name := range []string{
		events.SubJobCommandsWorker, events.SubJobCommandsWorkerShort, events.SubJobCommandsWorkerLong, events.SubJobProgressEdge, events.SubJobLifecycleNotifier,
		events.SubJobControlWorker, events.SubWebhookReceivedEdge, events.SubKeyControlEdge,
	} {
		if !names[name] {
			t.Errorf("%s is not declared", name)
		}
	}
}

// Whichever set a deployment has, each lane of a topic has one shared reader a
// service.
func TestADeploymentHearsEachLaneOnce(t *testing.T) {
	t.Parallel()
	for _, split := range []bool{false, true} {
		readers := make(map[string]int)
		for _, sub := range events.Deployed(split) {
			if sub.Mode != events.Shared {
				continue
			}
			for _, lane := range []string{events.LaneShort, events.LaneLong} {
				if sub.Lane == "" || sub.Lane == lane {
					readers[sub.Topic+" "+sub.Service+" "+lane]++
				}
			}
		}
		if len(readers) != 6 {
			t.Errorf("lanes %v: %d readers of lanes, want 6: %v", split, len(readers), readers)
		}
		for lane, n := range readers {
			if n != 1 {
				t.Errorf("lanes %v: %s has %d readers", split, lane, n)
			}
		}
	}
}
