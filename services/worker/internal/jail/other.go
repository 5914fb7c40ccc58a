//go:build !linux

package jail

import (
	"context"
	"syscall"
)

const unavailableHere = "this operating system has none"

func openStage() string { return "" }

func becomeReal(int, int) {}

// inheritNothing does nothing: there is no cheap way to list descriptors.
func inheritNothing() {}

func endLeftovers(string) error { return nil }

func groupAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func (l *Launcher) prepare() error {
	if l.cfg.Mode == Namespace {
		return &UnavailableError{Reason: unavailableHere, Fix: "Run the worker on Linux, or accept process groups."}
	}
	return nil
}

func (*Launcher) startNamespace(context.Context, Spec) (*Process, error) {
	return nil, &UnavailableError{Reason: unavailableHere}
}

// Detect starts a tree for real and says whether the mode works here.
func (*Launcher) Detect(context.Context) error { return nil }
