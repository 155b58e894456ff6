package build

import "strings"

// Tag is a build tag that every program for pvrun is built with.
const Tag = "pvrun"

// WithTag adds Tag to tags, which are what -tags of the go command has.
func WithTag(tags string) string {
	// Tags have neither quotes nor spaces, which old uses of -tags separate them by.
	list := strings.FieldsFunc(tags, func(r rune) bool { return strings.ContainsRune(", '\"", r) })
	return strings.Join(append([]string{Tag}, list...), ",")
}

// tags are the build's: -tags on a command line takes the place of that in GOFLAGS.
func (b *builder) tags() string {
	if b.cfg.Tags != "" {
		return WithTag(b.cfg.Tags)
	}
	return WithTag(tagsOf(b.root.flags))
}

// flagsWithTag adds Tag to GOFLAGS, of which the last -tags counts.
func flagsWithTag(goflags string) string {
	return strings.TrimSpace(goflags + " -tags=" + WithTag(tagsOf(goflags)))
}

// tagsOf is what -tags in GOFLAGS says.
func tagsOf(goflags string) (tags string) {
	for rest := strings.TrimSpace(goflags); rest != ""; rest = strings.TrimSpace(rest) {
		var flag string
		if quote := rest[:1]; quote == "'" || quote == `"` {
			flag, rest, _ = strings.Cut(rest[1:], quote)
		} else {
			flag, rest, _ = strings.Cut(rest, " ")
		}
		name, value, _ := strings.Cut(flag, "=")
		if name == "-tags" || name == "--tags" {
			tags = value
		}
	}
	return tags
}
