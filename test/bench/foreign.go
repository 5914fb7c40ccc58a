package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/errs"
	"codexgateway.dev/pkg/id"
)

const (
	foreignJobs  = 50
	foreignPairs = 4000
	foreignWarm  = 200
	foreignRatio = 1.1
	// foreignPrompt is how long the prompts of the jobs are, in bytes: the
	// longer a job, the longer it takes to read.
	foreignPrompt = 16 << 10
)

// measureForeign takes whether the time of an answer tells a job of another
// tenant from one that never was: job.get of both by turns on one socket.
func measureForeign(ctx context.Context, b *bench) (_ []figure, err error) {
	g, err := b.startEdge(ctx, "foreign")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	foreign, key, err := strangers(ctx, &g.endpoint)
	if err != nil {
		return nil, err
	}
	s, err := dial(ctx, &endpoint{URL: g.URL, key: key})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	var took [2]times // foreign, unknown
	for pair := range foreignWarm + foreignPairs {
		for turn := range took {
			kind := (pair + turn) % 2
			jobID := foreign[pair%len(foreign)]
			if kind == 1 {
				jobID = id.New(id.Job)
			}
			begin := time.Now()
			m, err := s.ask(ctx, apiv1.MethodJobGet, apiv1.JobRef{JobID: jobID})
			if err != nil {
				return nil, err
			}
			if pair >= foreignWarm {
				took[kind] = append(took[kind], time.Since(begin))
			}
			var refused struct{ Code int }
			if err := json.Unmarshal(m.Error, &refused); err != nil || refused.Code != errs.Lookup(errs.NotFound).RPC {
				return nil, fmt.Errorf("job.get of no job of the tenant: %s %s", m.Result, m.Error)
			}
		}
	}
	return []figure{atMost(foreignRatio, "foreign_id_ratio", float64(took[0].median())/float64(took[1].median()), "ratio", foreignPairs, map[string]any{
		"foreign_p50_us": round(took[0].median().Seconds() * 1e6), "unknown_p50_us": round(took[1].median().Seconds() * 1e6),
		"foreign_p90_us": round(took[0].at(0.9).Seconds() * 1e6), "unknown_p90_us": round(took[1].at(0.9).Seconds() * 1e6),
		"jobs": foreignJobs, "prompt_bytes": foreignPrompt,
	})}, nil
}

// strangers submits jobs of the admin's tenant and makes the key of another.
func strangers(ctx context.Context, e *endpoint) (jobs []string, key string, err error) {
	admin, err := dial(ctx, e)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, admin.close()) }()
	for range foreignJobs {
		var j apiv1.Accepted
		if err := admin.call(ctx, apiv1.MethodConversationPrompt, apiv1.PromptParams{Prompt: strings.Repeat("x", foreignPrompt)}, &j); err != nil {
			return nil, "", err
		}
		jobs = append(jobs, j.JobID)
	}
	var made apiv1.NewKey
	err = admin.call(ctx, apiv1.MethodKeyCreate, apiv1.KeyCreateParams{Tenant: "stranger"}, &made)
	return jobs, made.Secret, err
}
