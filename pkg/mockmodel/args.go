package mockmodel

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Bounds of numbers in a script: a prompt is hostile input and must not make
// the server loop or wait for ever.
const (
	maxDeltas = 1_000_000
	maxTimes  = 1_000_000
	maxWait   = time.Hour
)

func number(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q is not a number from %d to %d", clip(s), least, most)
	}
	return n, nil
}

func millis(args []string) (time.Duration, error) {
	if len(args) != 1 {
		return 0, errors.New("one number of milliseconds is needed")
	}
	n, err := number(args[0], 0, int(maxWait/time.Millisecond))
	return time.Duration(n) * time.Millisecond, err
}

func deltaArgs(args []string) (int, time.Duration, error) {
	if len(args) != 2 {
		return 0, 0, errors.New("deltas needs N and EVERY_MS")
	}
	n, err := number(args[0], 1, maxDeltas)
	if err != nil {
		return 0, 0, err
	}
	every, err := millis(args[1:])
	return n, every, err
}

func usageArgs(args []string) (usage, error) {
	if len(args) != 2 {
		return usage{}, errors.New("usage needs IN and OUT")
	}
	in, err := number(args[0], 0, 1<<31-1)
	if err != nil {
		return usage{}, err
	}
	out, err := number(args[1], 0, 1<<31-1)
	return usage{input: in, output: out}, err
}

func timesArg(args []string) (int, error) {
	switch len(args) {
	case 0:
		return endless, nil
	case 1:
		return number(args[0], 1, maxTimes)
	default:
		return 0, fmt.Errorf("unexpected %q", clip(args[1]))
	}
}

// statusArgs parses CODE [TIMES] [retry-after S] [type T].
func statusArgs(s *step, args []string) error {
	if len(args) == 0 {
		return errors.New("status needs a code")
	}
	var err error
	if s.code, err = number(args[0], 400, 599); err != nil {
		return err
	}
	args = args[1:]
	if len(args) > 0 && args[0] != "retry-after" && args[0] != "type" {
		if s.times, err = timesArg(args[:1]); err != nil {
			return err
		}
		args = args[1:]
	}
	for ; len(args) >= 2; args = args[2:] {
		switch args[0] {
		case "retry-after":
			if _, err := number(args[1], 0, 86400); err != nil {
				return err
			}
			s.retryAfter = args[1]
		case "type":
			s.errType = args[1]
		default:
			return fmt.Errorf("unexpected %q", clip(args[0]))
		}
	}
	if len(args) > 0 {
		return fmt.Errorf("unexpected %q", clip(args[0]))
	}
	return nil
}
