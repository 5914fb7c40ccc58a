package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("out", "docs/reference", "the directory of the pages")
	flag.Parse()
	if err := write(".", *out); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

// write renders every page into dir; root is the root of the repository.
func write(root, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // documentation is for everyone to read
		return fmt.Errorf("make directory: %w", err)
	}
	pages, err := render(root)
	if err != nil {
		return err
	}
	for _, p := range pages {
		if err := os.WriteFile(filepath.Join(dir, p.name), p.text, 0o644); err != nil { //nolint:gosec // documentation is for everyone to read
			return fmt.Errorf("write page: %w", err)
		}
	}
	return nil
}
