package methods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"gocloud.dev/blob"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/audit"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/eventlog"
	"codexgateway.dev/pkg/job"
	"codexgateway.dev/pkg/jsonrpc"
	"codexgateway.dev/services/edge/internal/apidoc"
	"codexgateway.dev/services/edge/internal/call"
	"codexgateway.dev/services/edge/internal/hub"
)

// SignedURLLife is how long a link to an artifact works.
const SignedURLLife = 15 * time.Minute

// Scopes a key needs.
const (
	scopeRead  = string(apikey.JobsRead)
	scopeWrite = string(apikey.JobsWrite)
)

// Service is what the methods work on. All but Audit and Tally are required.
type Service struct {
	Jobs  *job.Store
	Hub   *hub.Hub
	Blobs *blob.Bucket
	Keys  *apikey.Store
	Ring  Ring
	// KeyRate is how many calls a minute a key may make that does not say; 0: any
	// number.
	KeyRate int
	Now     func() time.Time
	// Audit keeps who did what, Tally what anybody can cause; nil: nobody does.
	Audit *audit.Trail
	Tally *audit.Tally
	// Version of the gateway, for system.ping and rpc.discover.
	Version string
	// AllowFileRepos lets repo.url be a file:// URL.
	AllowFileRepos bool
	// Draining is closed when the instance goes away: waits then end early.
	Draining <-chan struct{}
}

// Register adds the methods that every transport has.
func (s *Service) Register(m *jsonrpc.Mux) {
	jsonrpc.Register(m, apiv1.MethodConversationPrompt, jsonrpc.MethodDoc{
		Summary: "Submits a prompt as a job; with wait, answers with the result if the job ends in time.",
		Scope:   scopeWrite, Results: []any{apiv1.Accepted{}, apiv1.AIResponse{}},
	}, s.prompt)
	jsonrpc.Register(m, apiv1.MethodConversationStatus, jsonrpc.MethodDoc{
		Summary: "Tells what a conversation is doing.",
		Scope:   scopeRead, Results: []any{apiv1.ConversationStatus{}, unknownSession{}},
	}, s.conversationStatus)
	jsonrpc.Register(m, apiv1.MethodConversationCancel, jsonrpc.MethodDoc{
		Summary: "Stops every unfinished job of a conversation.", Scope: scopeWrite,
	}, s.conversationCancel)
	jsonrpc.Register(m, apiv1.MethodJobGet, jsonrpc.MethodDoc{
		Summary: "Reads a job.", Scope: scopeRead,
	}, s.jobGet)
	jsonrpc.Register(m, apiv1.MethodJobList, jsonrpc.MethodDoc{
		Summary: "Lists jobs, newest first.", Scope: scopeRead,
	}, s.jobList)
	jsonrpc.Register(m, apiv1.MethodJobEvents, jsonrpc.MethodDoc{
		Summary: "Reads a page of a job's events.", Scope: scopeRead, Results: []any{apiv1.EventPage{}},
	}, s.jobEvents)
	jsonrpc.Register(m, apiv1.MethodJobArtifacts, jsonrpc.MethodDoc{
		Summary: "Lists the files a job left, with links that expire.", Scope: scopeRead,
	}, s.jobArtifacts)
	jsonrpc.Register(m, apiv1.MethodJobCancel, jsonrpc.MethodDoc{
		Summary: "Stops a job.", Scope: scopeWrite,
	}, s.jobCancel)
	jsonrpc.Register(m, apiv1.MethodJobRetry, jsonrpc.MethodDoc{
		Summary: "Submits an ended job again, as a new job of the same conversation.", Scope: scopeWrite,
	}, s.jobRetry)
	s.registerKeys(m)
	jsonrpc.Register(m, apiv1.MethodAuditList, jsonrpc.MethodDoc{
		Summary: "Lists who changed what, newest first.", Scope: string(apikey.AuditRead),
	}, s.auditList)
	jsonrpc.Register(m, apiv1.MethodSystemPing, jsonrpc.MethodDoc{
		Summary: "Answers at once.",
	}, s.ping)
	jsonrpc.Register(m, apiv1.MethodRPCDiscover, jsonrpc.MethodDoc{
		Summary: "Describes the methods as an OpenRPC document.", Results: []any{map[string]any{}},
	}, func(context.Context, struct{}) (json.RawMessage, error) { return apidoc.OpenRPC(m, s.Version) })
}

func (s *Service) ping(context.Context, struct{}) (apiv1.Pong, error) {
	return apiv1.Pong{Status: "ok", Version: s.Version, Time: stamp(s.Now())}, nil
}

// Job reads a job of the caller's tenant.
func (s *Service) Job(ctx context.Context, jobID string) (*job.Job, error) {
	if jobID == "" {
		return nil, errs.Param("/job_id", "A job id is required.")
	}
	j, err := s.Jobs.Get(ctx, call.From(ctx).Principal.Tenant, jobID)
	if err != nil {
		return nil, Fault(err)
	}
	return j, nil
}

// ArtifactURL returns a link to an artifact that works without a key until
// SignedURLLife has passed. The embedded platform signs paths: they become
// absolute with the gateway's own address.
func (s *Service) ArtifactURL(ctx context.Context, a *job.Artifact) (string, error) {
	if err := s.Jobs.LinkArtifact(ctx, a); err != nil {
		return "", Fault(err)
	}
	link, err := s.Blobs.SignedURL(ctx, a.Blob, &blob.SignedURLOptions{Expiry: SignedURLLife})
	if err != nil {
		return "", fmt.Errorf("methods: sign %s: %w", a.Name, err)
	}
	u, err := url.Parse(link)
	if err != nil {
		return "", fmt.Errorf("methods: signed URL: %w", err)
	}
	if u.IsAbs() {
		return link, nil
	}
	return call.From(ctx).BaseURL + "/" + strings.TrimPrefix(link, "/"), nil
}

// Fault gives errors of the layers below the code a client can act on: a store
// that is away is no failure of the gateway itself and may be back for the next
// try. Errors that have a code keep it.
func Fault(err error) error {
	_, coded := errors.AsType[*errs.Error](err)
	switch {
	case coded:
	case errors.Is(err, docstore.ErrUnavailable):
		return errs.Wrap(errs.Overloaded, "The gateway's store is away for the moment.", err)
	case errors.Is(err, hub.ErrStopped):
		return errs.Wrap(errs.Overloaded, "This instance of the gateway is going away.", err)
	case errors.Is(err, eventlog.ErrGap):
		return errs.Wrap(errs.NotFound, "These events have expired; the job's artifact "+job.ArtifactEvents+" has them.", err)
	}
	return fmt.Errorf("methods: %w", err)
}

// stamp formats a time as the API does.
func stamp(t time.Time) string { return t.UTC().Format(eventlog.TimeFormat) }
