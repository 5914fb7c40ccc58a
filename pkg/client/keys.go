package client

import (
	"context"

	"codexgateway.dev/pkg/apiv1"
)

// CreateKey makes a key. It is not idempotent: each call makes another one, and
// a key whose answer was lost is never shown again.
func (c *Client) CreateKey(ctx context.Context, params apiv1.KeyCreateParams) (apiv1.NewKey, error) {
	var out apiv1.NewKey
	err := c.Call(ctx, apiv1.MethodKeyCreate, params, &out)
	return out, err
}

// ListKeys reads one page of keys, newest first.
func (c *Client) ListKeys(ctx context.Context, params apiv1.KeyListParams) (apiv1.KeyListResult, error) {
	var out apiv1.KeyListResult
	err := c.Call(ctx, apiv1.MethodKeyList, params, &out)
	return out, err
}

// RotateKey gives a key a new secret.
func (c *Client) RotateKey(ctx context.Context, params apiv1.KeyRotateParams) (apiv1.NewKey, error) {
	var out apiv1.NewKey
	err := c.Call(ctx, apiv1.MethodKeyRotate, params, &out)
	return out, err
}

// RevokeKey ends a key for ever. Doing it again changes nothing.
func (c *Client) RevokeKey(ctx context.Context, params apiv1.KeyRef) (apiv1.Key, error) {
	var out apiv1.Key
	err := c.Call(ctx, apiv1.MethodKeyRevoke, params, &out)
	return out, err
}
