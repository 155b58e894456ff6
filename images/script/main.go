// Command script runs a JavaScript file.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dop251/goja"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: script FILE [args...]")
		os.Exit(2)
	}
	out := bufio.NewWriter(os.Stdout)
	err := run(out, os.Args[1], os.Args[2:])
	if err := errors.Join(err, out.Flush()); err != nil {
		fmt.Fprintln(os.Stderr, "script:", err)
		os.Exit(1)
	}
}

// run runs the script. It has print(...), read(name) for files beside it, and
// args.
func run(out io.Writer, name string, args []string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	vm := goja.New()
	dir := os.DirFS(filepath.Dir(name))
	globals := map[string]any{
		"args":  args,
		"print": printer(out),
		"read": func(name string) (string, error) {
			f, err := dir.Open(name)
			if err != nil {
				return "", err
			}
			defer f.Close()
			text, err := io.ReadAll(f)
			return string(text), err
		},
	}
	for name, value := range globals {
		if err := vm.Set(name, value); err != nil {
			return err
		}
	}
	_, err = vm.RunScript(filepath.Base(name), string(text))
	return err
}

func printer(out io.Writer) func(goja.FunctionCall) goja.Value {
	return func(call goja.FunctionCall) goja.Value {
		words := make([]string, len(call.Arguments))
		for i, v := range call.Arguments {
			words[i] = v.String()
		}
		fmt.Fprintln(out, strings.Join(words, " "))
		return goja.Undefined()
	}
}
