package cloudrun

import "context"

// Job starts executions that run one gateway job each.
type Job struct {
	client         *Client
	name, variable string
}

// Job is the Cloud Run job of that name; variable tells an execution the id of
// the gateway job it is for.
func (c *Client) Job(name, variable string) *Job { return &Job{c, name, variable} }

// Start starts an execution for a gateway job.
func (j *Job) Start(ctx context.Context, jobID string) error {
	_, err := j.client.StartExecution(ctx, j.name, map[string]string{j.variable: jobID})
	return err
}

// Pool is a worker pool.
type Pool struct {
	client *Client
	name   string
}

// Pool is the worker pool of that name.
func (c *Client) Pool(name string) *Pool { return &Pool{c, name} }

// Size returns how many instances the pool is set to.
func (p *Pool) Size(ctx context.Context) (int, error) { return p.client.Instances(ctx, p.name) }

// Resize sets it.
func (p *Pool) Resize(ctx context.Context, n int) error {
	return p.client.SetInstances(ctx, p.name, n)
}
