// Package idempotency owns the claims that make submitting twice the same as
// submitting once. A claim is one document per (tenant, key), created in the
// commit that has the effect, so there is never an effect without its claim or
// a claim without its effect. The job domain calls it on submit.
package idempotency
