package main

import (
	"errors"
	"fmt"
	"slices"
)

// Exit codes. Those of `pvrun run` are docker's, so that the program's own
// codes and pvrun's rarely meet.
const (
	exitOK      = 0
	exitFailure = 1 // invoke: the program's handler has failed; a verb that runs no program has failed
	exitUsage   = 2 // usage error of a verb that runs no program

	exitEnded    = 123 // snapshot, invoke: the program ended where it was to go on
	exitTimeout  = 124 // run: --timeout is over
	exitHost     = 125 // run: pvrun's own error, usage errors included
	exitFault    = 126 // run: the guest failed outside its program
	exitNotFound = 127 // run: no such image or package
	exitSignal   = 128 // run: plus the number of the signal that ended it
)

const runExitHelp = `Exit codes: the program's own; 128+n when signal n ended it; 124 time-out;
125 an error of pvrun or of the host; 126 a guest fault; 127 no such image or
package.`

// exitError ends pvrun with a code. A nil err has been reported already.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return fmt.Sprint(e.err) }
func (e exitError) Unwrap() error { return e.err }

// usageError is a wrong command line; verb is where to look for help.
type usageError struct {
	verb string
	err  error
}

func (e usageError) Error() string {
	return fmt.Sprintf("%v (see '%s --help')", e.err, e.verb)
}
func (e usageError) Unwrap() error { return e.err }

// runningVerbs are those whose exit code can be a program's.
var runningVerbs = []string{"pvrun run", "pvrun exec", "pvrun snapshot", "pvrun invoke"}

// exitCode is the code that err ends pvrun with.
func exitCode(err error) int {
	var exit exitError
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &usage) && slices.Contains(runningVerbs, usage.verb):
		return exitHost
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailure
}
