package worker

import (
	"testing"

	"codexgateway.dev/events"
	"codexgateway.dev/pkg/id"
)

func TestLanesChooseTheSubscription(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		lanes []string
		want  string
	}{
		{nil, events.SubJobCommandsWorker},
		{[]string{"short", "long"}, events.SubJobCommandsWorker},
		{[]string{"long", "short"}, events.SubJobCommandsWorker},
		{[]string{"short"}, events.SubJobCommandsWorkerShort},
		{[]string{"long"}, events.SubJobCommandsWorkerLong},
	} {
		cfg := Config{Lanes: tc.lanes}
		if got := cfg.subscription(); got != tc.want {
			t.Errorf("%v: %s, want %s", tc.lanes, got, tc.want)
		}
	}
}

func TestIntakeSettingsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cfg Config
		ok  bool
	}{
		"nothing said":          {Config{}, true},
		"pull":                  {Config{Intake: IntakePull, Lanes: []string{"long"}}, true},
		"push of short jobs":    {Config{Intake: IntakePush, Lanes: []string{"short"}}, true},
		"push of long jobs":     {Config{Intake: IntakePush, Lanes: []string{"short", "long"}}, false},
		"push of any job":       {Config{Intake: IntakePush}, false},
		"once":                  {Config{Intake: IntakeOnce, JobID: id.New(id.Job)}, true},
		"once without a job":    {Config{Intake: IntakeOnce}, false},
		"once with another id":  {Config{Intake: IntakeOnce, JobID: id.New(id.Worker)}, false},
		"an intake of no kind":  {Config{Intake: "poll"}, false},
		"a lane of no kind":     {Config{Lanes: []string{"short", "middle"}}, false},
		"a lane that is nobody": {Config{Lanes: []string{""}}, false},
	} {
		if problems := tc.cfg.validateIntake(); (len(problems) == 0) != tc.ok {
			t.Errorf("%s: %v", name, problems)
		}
	}
}
