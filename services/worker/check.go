package worker

import (
	"context"

	"codexgateway.dev/pkg/errs"
)

// check refuses to take jobs on a machine whose sandbox does not work, unless
// told otherwise explicitly.
func (s *Service) check(ctx context.Context) error {
	if err := s.launcher.Detect(ctx); err != nil {
		return errs.Wrap(errs.SandboxUnavailable, "", err)
	}
	return nil
}
