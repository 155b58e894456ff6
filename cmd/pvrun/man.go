//go:build man

package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/pvrun/pvrun"
)

// extraCommands has the generator of man pages, which needs more packages
// than pvrun should load at each start: go run -tags man ./cmd/pvrun man DIR.
func extraCommands() []*cobra.Command {
	return []*cobra.Command{{
		Use:    "man DIR",
		Short:  "Write man pages to a folder",
		Hidden: true,
		Args:   needsOne("a folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "pvrun " + pvrun.Version, Manual: "pvrun"}
			return doc.GenManTree(root, header, args[0])
		},
	}}
}
