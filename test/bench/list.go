package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"codexgateway.dev/pkg/apiv1"
)

const (
	listJobs    = 100_000
	listCalls   = 500
	listLimit   = 50
	listPages   = 200
	listLimitMS = 10
)

// measureList takes what reading jobs costs when there are many: one socket, one
// call at a time, kinds of calls by turns.
func measureList(ctx context.Context, b *bench) (_ []figure, err error) {
	g, err := b.startEdge(ctx, "list")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	begin := time.Now()
	if err := g.say(fmt.Sprintf("fill %d", listJobs)); err != nil {
		return nil, err
	}
	var ids []string
	if err := answer(ctx, g, &ids); err != nil {
		return nil, err
	}
	filled := time.Since(begin)
	s, err := dial(ctx, &g.endpoint)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	deep, err := s.deepCursor(ctx)
	if err != nil {
		return nil, err
	}
	kinds := []struct {
		name   string
		method string
		params func(i int) any
		took   times
	}{
		{"job_get", apiv1.MethodJobGet, func(i int) any { return apiv1.JobRef{JobID: ids[i%len(ids)]} }, nil},
		{"job_list", apiv1.MethodJobList, func(int) any { return apiv1.JobListParams{Limit: listLimit} }, nil},
		{"job_list_status", apiv1.MethodJobList, func(int) any { return apiv1.JobListParams{Limit: listLimit, Status: "running"} }, nil},
		{"job_list_session", apiv1.MethodJobList, func(i int) any {
			return apiv1.JobListParams{Limit: listLimit, SessionID: fmt.Sprintf("session-%d", i%fillSessions)}
		}, nil},
		{"job_list_deep", apiv1.MethodJobList, func(int) any { return apiv1.JobListParams{Limit: listLimit, Cursor: deep} }, nil},
	}
	for i := range listCalls {
		for k := range kinds {
			begin := time.Now()
			if err := s.call(ctx, kinds[k].method, kinds[k].params(i), nil); err != nil {
				return nil, err
			}
			kinds[k].took = append(kinds[k].took, time.Since(begin))
		}
	}
	var figures []figure
	for _, k := range kinds {
		detail := k.took.spread()
		detail["jobs"] = listJobs
		figures = append(figures, atMost(listLimitMS, k.name+"_p99", millis(k.took.at(0.99)), "ms", len(k.took), detail))
	}
	figures[0].Detail["fill_s"] = round(filled.Seconds())
	return figures, nil
}

// deepCursor is the cursor of a page far from the newest job.
func (s *socket) deepCursor(ctx context.Context) (string, error) {
	var p apiv1.JobListResult
	for range listPages {
		cursor := p.NextCursor
		p = apiv1.JobListResult{}
		if err := s.call(ctx, apiv1.MethodJobList, apiv1.JobListParams{Limit: listLimit, Cursor: cursor}, &p); err != nil {
			return "", err
		}
	}
	return p.NextCursor, nil
}
