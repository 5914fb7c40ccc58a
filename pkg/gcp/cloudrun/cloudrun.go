package cloudrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/httptransport"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/run/v2"
)

// Errors of a [Client], wrapped.
var (
	// ErrNotFound means the job or the worker pool does not exist.
	ErrNotFound = errors.New("cloudrun: not found")
	// ErrUnavailable means that the call may work later: the service is away, out
	// of quota, or somebody else changed the same resource.
	ErrUnavailable = errors.New("cloudrun: unavailable")
	// ErrRefused means that the call will not work until somebody changes the
	// configuration or the permissions.
	ErrRefused = errors.New("cloudrun: refused")
)

// Config of [Open]. Project and Region are required.
type Config struct {
	Project string
	Region  string
	// Endpoint replaces https://run.googleapis.com/, without authentication; for tests.
	Endpoint string
	// Credentials of the calls; required without an Endpoint.
	Credentials *auth.Credentials
	// Timeout bounds one call. 0: 15 s.
	Timeout time.Duration
}

// Client calls the Run Admin API. It is safe for concurrent use and holds
// nothing that needs closing but idle connections: see [Client.Close].
type Client struct {
	parent  string
	timeout time.Duration
	service *run.ProjectsLocationsService
	idle    func()
}

// Open returns a client. It calls nobody.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Project == "" || cfg.Region == "" {
		return nil, errors.New("cloudrun: project and region are required")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 15 * time.Second
	}
	// One of the client's own, so that closing it closes its connections.
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second}
	hc := &http.Client{Transport: transport}
	options := []option.ClientOption{option.WithHTTPClient(hc)}
	if cfg.Endpoint != "" {
		options = append(options, option.WithEndpoint(cfg.Endpoint))
	} else if err := httptransport.AddAuthorizationMiddleware(hc, cfg.Credentials); err != nil {
		return nil, fmt.Errorf("cloudrun: %w", err)
	}
	service, err := run.NewService(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("cloudrun: %w", err)
	}
	return &Client{
		parent: "projects/" + cfg.Project + "/locations/" + cfg.Region, timeout: cfg.Timeout, service: service.Projects.Locations, idle: transport.CloseIdleConnections,
	}, nil
}

// Close closes idle connections.
func (c *Client) Close() error { c.idle(); return nil }

// StartExecution starts one execution of a job with variables added to the
// job's own, each for the job's only container, and returns its full name.
// After ErrUnavailable it may run all the same.
func (c *Client) StartExecution(ctx context.Context, job string, env map[string]string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	container := &run.GoogleCloudRunV2ContainerOverride{}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		container.Env = append(container.Env, &run.GoogleCloudRunV2EnvVar{Name: name, Value: env[name]})
	}
	op, err := c.service.Jobs.Run(c.parent+"/jobs/"+job, &run.GoogleCloudRunV2RunJobRequest{
		Overrides: &run.GoogleCloudRunV2Overrides{ContainerOverrides: []*run.GoogleCloudRunV2ContainerOverride{container}},
	}).Context(ctx).Do()
	if err := failure(op, err); err != nil {
		return "", fmt.Errorf("start job %s: %w", job, err)
	}
	var execution struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(op.Metadata, &execution); err != nil || execution.Name == "" {
		return "", fmt.Errorf("start job %s: %w: the answer names no execution", job, ErrUnavailable)
	}
	return execution.Name, nil
}

// Instances returns the size that a worker pool is set to.
func (c *Client) Instances(ctx context.Context, pool string) (int, error) {
	p, err := c.pool(ctx, pool)
	if err != nil {
		return 0, err
	}
	return size(p), nil
}

// SetInstances sets the size of a worker pool. It fails with ErrUnavailable when
// somebody else changes the pool at the same time.
func (c *Client) SetInstances(ctx context.Context, pool string, n int) error {
	if n < 0 || n > math.MaxInt32 {
		return fmt.Errorf("resize pool %s: %w: %d instances", pool, ErrRefused, n)
	}
	p, err := c.pool(ctx, pool)
	if err != nil {
		return err
	}
	if size(p) == n {
		return nil // a patch would be one more write to a limited API
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	op, err := c.service.WorkerPools.Patch(c.parent+"/workerPools/"+pool, &run.GoogleCloudRunV2WorkerPool{
		// The etag keeps two reconcilers from undoing each other.
		Etag: p.Etag,
		Scaling: &run.GoogleCloudRunV2WorkerPoolScaling{
			ManualInstanceCount: int64(n), ForceSendFields: []string{"ManualInstanceCount"}, // zero is a size
		},
	}).UpdateMask("scaling.manualInstanceCount").Context(ctx).Do()
	if err := failure(op, err); err != nil {
		return fmt.Errorf("resize pool %s: %w", pool, err)
	}
	return nil
}

func (c *Client) pool(ctx context.Context, pool string) (*run.GoogleCloudRunV2WorkerPool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	p, err := c.service.WorkerPools.Get(c.parent + "/workerPools/" + pool).Context(ctx).Do()
	if err != nil {
		return nil, fmt.Errorf("read pool %s: %w", pool, kind(err))
	}
	return p, nil
}

func size(p *run.GoogleCloudRunV2WorkerPool) int {
	if p.Scaling == nil {
		return 0
	}
	return int(p.Scaling.ManualInstanceCount)
}

// failure is what a call or the operation that it began failed with.
func failure(op *run.GoogleLongrunningOperation, err error) error {
	switch {
	case err != nil:
		return kind(err)
	case op.Done && op.Error != nil:
		return fmt.Errorf("%w: %s", ErrUnavailable, op.Error.Message)
	}
	return nil
}

// kind gives an error one of the package's three.
func kind(err error) error {
	answer := (*googleapi.Error)(nil)
	if !errors.As(err, &answer) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err) // no answer, or half of one
	}
	switch answer.Code {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusPreconditionFailed, http.StatusTooManyRequests:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if answer.Code >= http.StatusInternalServerError {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}
