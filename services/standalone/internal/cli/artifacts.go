package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"codexgateway.dev/pkg/apiv1"
	"codexgateway.dev/pkg/client"
)

func (a *app) artifactsCommand() *cobra.Command {
	var (
		dir    string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "artifacts JOB",
		Short: "List or download what a job left",
		Args:  oneArg("JOB", "job_…"),
		RunE: a.calling(func(ctx context.Context, c *client.Client, args []string) error {
			var raw json.RawMessage
			if err := c.Call(ctx, apiv1.MethodJobArtifacts, apiv1.JobRef{JobID: args[0]}, &raw); err != nil {
				return err
			}
			var list apiv1.Artifacts
			if err := json.Unmarshal(raw, &list); err != nil {
				return fmt.Errorf("the gateway's answer: %w", err)
			}
			if dir != "" {
				if err := a.download(ctx, c, dir, list.Artifacts); err != nil {
					return err
				}
			}
			if asJSON {
				return a.printRaw(raw)
			}
			return a.printArtifacts(list.Artifacts, dir)
		}),
	}
	cmd.Flags().StringVar(&dir, "download", "", "write them into this `DIR`, made if missing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	return cmd
}

func (a *app) printArtifacts(list []apiv1.Artifact, dir string) error {
	if len(list) == 0 {
		a.note("the job left nothing")
		return nil
	}
	rows := [][]string{{"NAME", "BYTES", "SHA256"}}
	for i := range list {
		name := list[i].Name
		if dir != "" {
			name = filepath.Join(dir, name)
		}
		rows = append(rows, []string{name, strconv.FormatInt(list[i].Size, 10), list[i].SHA256})
	}
	return a.table(rows)
}

// download writes artifacts into a directory. Names come from the gateway: they
// must be plain, and the root keeps even a link in the directory from leading
// out of it.
func (a *app) download(ctx context.Context, c *client.Client, dir string, list []apiv1.Artifact) (err error) {
	for i := range list {
		if !plainName(list[i].Name) {
			return fmt.Errorf("the gateway names an artifact %q, which is no plain file name; nothing was written", list[i].Name)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a directory the user asked for, as mkdir makes it
		return usagef("--download: %s", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return usagef("--download: %s", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for i := range list {
		if err := fetch(ctx, c, root, &list[i]); err != nil {
			return err
		}
	}
	return nil
}

// fetch writes one artifact whole or not at all.
func fetch(ctx context.Context, c *client.Client, root *os.Root, artifact *apiv1.Artifact) error {
	part := "." + artifact.Name + ".part"
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return fmt.Errorf("download %s: %w", artifact.Name, err)
	}
	w := bufio.NewWriter(f)
	err = c.Fetch(ctx, artifact, w)
	if err == nil {
		err = w.Flush()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(part, artifact.Name)
	}
	if err != nil {
		return errors.Join(err, root.Remove(part))
	}
	return nil
}

// plainName reports whether a name is that of one ordinary file.
func plainName(name string) bool {
	if name == "" || len(name) > 200 || name[0] == '.' || name[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
		return !ok
	})
}
