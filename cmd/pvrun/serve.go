package main

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/pvrun/pvrun/internal/beside"
)

// serveName is the program that pvrun serve is: pvrun links no HTTP.
const serveName = "pvrun-serve"

var errNoServe = errors.New("pvrun-serve is neither beside pvrun nor on PATH: make build, or go install -C cmd/pvrun-serve . in pvrun's sources")

// execProgram becomes another program. Tests have another.
var execProgram = unix.Exec

func newServe() *cobra.Command {
	return &cobra.Command{
		Use:   "serve [flags] [NAME=IMAGE|SNAP|PKG...]",
		Short: "Serve functions over HTTP",

		DisableFlagParsing: true, // they are pvrun-serve's, --help too
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := beside.Find(serveName)
			if err != nil {
				return exitError{exitHost, errNoServe}
			}
			err = execProgram(path, append([]string{serveName}, args...), os.Environ())
			return exitError{exitHost, &os.PathError{Op: "start", Path: path, Err: err}}
		},
	}
}
