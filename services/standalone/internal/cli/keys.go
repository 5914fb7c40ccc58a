package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/client"
)

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make, list, rotate and revoke API keys",
		Args:  noCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.keysCreateCommand(), a.keysListCommand(), a.keysRotateCommand(), a.keysRevokeCommand())
	return cmd
}

func (a *app) keysCreateCommand() *cobra.Command {
	var (
		params apiv1.KeyCreateParams
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a key and print it, this once",
		Args:  noArgs,
		RunE: a.calling(func(ctx context.Context, c *client.Client, _ []string) error {
			return a.newKey(ctx, c, apiv1.MethodKeyCreate, params, asJSON)
		}),
	}
	fl := cmd.Flags()
	fl.StringVar(&params.Name, "name", "", "what it is for")
	fl.StringVar(&params.Tenant, "tenant", "", "whose key it becomes (the admin key only; default: the caller's)")
	fl.StringSliceVar(&params.Scopes, "scope", nil, "what it may do, several times or with commas (default: all but keys:admin)")
	fl.IntVar(&params.RateLimit, "rate-limit", 0, "calls a minute (default: the gateway's)")
	fl.StringVar(&params.ExpiresAt, "expires-at", "", "when it ends, such as 2030-01-31T12:00:00Z (default: never)")
	fl.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

// newKey calls a method that makes a key. The key alone goes to standard output,
// so that a script can take it; the rest is for people.
func (a *app) newKey(ctx context.Context, c *client.Client, method string, params any, asJSON bool) error {
	var raw json.RawMessage
	if err := c.Call(ctx, method, params, &raw); err != nil {
		return err
	}
	if asJSON {
		return a.printRaw(raw)
	}
	var made apiv1.NewKey
	if err := json.Unmarshal(raw, &made); err != nil {
		return fmt.Errorf("the gateway's answer: %w", err)
	}
	a.note("%s of tenant %s; scopes %s", made.KeyID, made.Tenant, strings.Join(made.Scopes, ", "))
	if made.OverlapUntil != "" {
		a.note("the old secret stays valid until %s", created(made.OverlapUntil))
	}
	a.note("this is the only time the key is shown:")
	return a.table([][]string{{made.Secret}})
}

func (a *app) keysListCommand() *cobra.Command {
	var (
		params apiv1.KeyListParams
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List keys, newest first",
		Args:  noArgs,
		RunE: a.calling(func(ctx context.Context, c *client.Client, _ []string) error {
			var raw json.RawMessage
			if err := c.Call(ctx, apiv1.MethodKeyList, params, &raw); err != nil {
				return err
			}
			if asJSON {
				return a.printRaw(raw)
			}
			var list apiv1.KeyListResult
			if err := json.Unmarshal(raw, &list); err != nil {
				return fmt.Errorf("the gateway's answer: %w", err)
			}
			return a.printKeys(&list)
		}),
	}
	fl := cmd.Flags()
	fl.StringVar(&params.Tenant, "tenant", "", "whose keys (the admin key only; default: the caller's)")
	fl.IntVar(&params.Limit, "limit", 50, "how many, at most 200")
	fl.StringVar(&params.Cursor, "cursor", "", "go on where the last page ended")
	fl.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func (a *app) printKeys(list *apiv1.KeyListResult) error {
	if len(list.Keys) == 0 {
		a.note("no keys")
		return nil
	}
	or := func(at string) string {
		if at == "" {
			return "-"
		}
		return created(at)
	}
	rows := [][]string{{"KEY", "STATUS", "CREATED", "LAST USED", "EXPIRES", "SCOPES", "NAME"}}
	for i := range list.Keys {
		k := &list.Keys[i]
		rows = append(rows, []string{k.KeyID, k.Status, created(k.CreatedAt), or(k.LastUsedAt), or(k.ExpiresAt), strings.Join(k.Scopes, ","), k.Name})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if list.NextCursor != "" {
		a.note("more with: codexgw keys list --cursor %s", list.NextCursor)
	}
	return nil
}

func (a *app) keysRotateCommand() *cobra.Command {
	var (
		tenant  string
		overlap time.Duration
		asJSON  bool
	)
	cmd := &cobra.Command{
		Use:   "rotate KEY_ID",
		Short: "Give a key a new secret and print it, this once",
		Args:  oneArg("KEY_ID", "key_…"),
		RunE: a.calling(func(ctx context.Context, c *client.Client, args []string) error {
			seconds := int(overlap / time.Second)
			return a.newKey(ctx, c, apiv1.MethodKeyRotate, apiv1.KeyRotateParams{KeyID: args[0], Tenant: tenant, OverlapS: &seconds}, asJSON)
		}),
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 24*time.Hour, "how long the old secret stays valid; 0: not at all")
	cmd.Flags().StringVar(&tenant, "tenant", "", "whose key it is (the admin key only; default: the caller's)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func (a *app) keysRevokeCommand() *cobra.Command {
	var (
		tenant string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "revoke KEY_ID",
		Short: "End a key for ever",
		Args:  oneArg("KEY_ID", "key_…"),
		RunE: a.calling(func(ctx context.Context, c *client.Client, args []string) error {
			var raw json.RawMessage
			if err := c.Call(ctx, apiv1.MethodKeyRevoke, apiv1.KeyRef{KeyID: args[0], Tenant: tenant}, &raw); err != nil {
				return err
			}
			if asJSON {
				return a.printRaw(raw)
			}
			var key apiv1.Key
			if err := json.Unmarshal(raw, &key); err != nil {
				return fmt.Errorf("the gateway's answer: %w", err)
			}
			return a.table([][]string{{key.KeyID, key.Status}})
		}),
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "whose key it is (the admin key only; default: the caller's)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}
