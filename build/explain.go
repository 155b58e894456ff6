package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// listed is what `go list` says about a package of a failed build.
type listed struct {
	ImportPath string
	Dir        string
	Name       string
	Standard   bool
	DepOnly    bool
	CgoFiles   []string
	Error      struct{ Err string }
}

// explain says why go build failed where its own message, in text, does not:
// a package that needs cgo, is not there or is not main. It asks the go command
// again, which costs nothing where builds succeed.
func (b *builder) explain(ctx context.Context, text string, cause error) error {
	if b.root.noStack != nil && strings.Contains(text, "package pvrun/guest/socket is not in std") {
		return fmt.Errorf("it imports net, and %s could not be fetched: %w", guestModules[0], b.root.noStack)
	}
	list := b.list(ctx)
	for _, p := range list {
		if !p.Standard && len(p.CgoFiles) > 0 && blamed(text, p) {
			return fmt.Errorf("%sneeds cgo (%s), which a unikernel does not have", p.subject("package %s "), p.CgoFiles[0])
		}
	}
	for _, p := range list {
		if !p.DepOnly && p.Dir == "" && p.missing() {
			return notFound{fmt.Errorf("go build: package %s not found", p.ImportPath)}
		}
		if !p.DepOnly && p.Name != "main" && p.Name != "" {
			return errors.New(p.subject("package %s is ") + "not a main package")
		}
	}
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("go build: %w", cause)
	}
	return errors.New("go build failed")
}

// blamed reports whether go's message speaks of p.
func blamed(text string, p listed) bool {
	return strings.Contains(text, "# "+p.ImportPath+"\n") ||
		strings.Contains(text, p.Dir) || strings.Contains(text, "package "+p.ImportPath+":") ||
		strings.Contains(text, "build constraints exclude all Go files") && !p.DepOnly ||
		strings.Contains(text, "no Go source files") && !p.DepOnly // all of the .go files given
}

// subject is p's import path in format, and nothing for .go files, whose path
// is a made-up one.
func (p listed) subject(format string) string {
	if p.ImportPath == "command-line-arguments" {
		return ""
	}
	return fmt.Sprintf(format, p.ImportPath)
}

// missing reports whether p could be there but is not; a malformed path could
// not.
func (p listed) missing() bool {
	return strings.Contains(p.Error.Err, "no required module provides package") ||
		strings.Contains(p.Error.Err, "cannot find module providing package") ||
		strings.Contains(p.Error.Err, "is not in std")
}

// list describes the packages of the build as they were with cgo; empty when
// the go command cannot tell.
func (b *builder) list(ctx context.Context) []listed {
	args := []string{"list", "-e", "-deps", "-json=ImportPath,Dir,Name,Standard,DepOnly,CgoFiles,Error", "-tags", b.tags(), "--"}
	args = append(args, b.target.args...)
	out, err := b.goTool().with("CGO_ENABLED=1").output(ctx, b.target.dir, args...)
	if err != nil {
		return nil
	}
	var list []listed
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var p listed
		if dec.Decode(&p) != nil {
			return list
		}
		list = append(list, p)
	}
}
