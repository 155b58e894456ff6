package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const envHelp = `Print what makes the go command link programs for pvrun, as shell commands:

    eval "$(pvrun env)"
    go test -exec 'pvrun exec' ./...

It derives the Go tree in the cache first, unless it is there. Among the settings is
GOFLAGS with the build tag pvrun, which -tags on a command line takes away again.`

func newEnv(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: "Print the go command's settings for pvrun exec",
		Long:  envHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tools, err := toolchain(cmd.Context(), ".")
			if err != nil {
				return err
			}
			for _, kv := range append(tools.Env, "GOFLAGS="+tools.Flags) {
				name, value, _ := strings.Cut(kv, "=")
				fmt.Fprintf(s.out, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
			}
			return nil
		},
	}
}
