// Command fn-markdown answers a message of Markdown with HTML.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"

	"github.com/pvrun/pvrun/function"
)

// markdown is made once: every machine that a snapshot becomes has it.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.GFM, extension.Footnote, extension.DefinitionList, extension.Typographer),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
)

func main() {
	if err := function.Handle(convert); err != nil {
		fmt.Fprintln(os.Stderr, "fn-markdown:", err)
		os.Exit(1)
	}
}

func convert(_ context.Context, message []byte) ([]byte, error) {
	var out bytes.Buffer
	err := markdown.Convert(message, &out)
	return out.Bytes(), err
}
