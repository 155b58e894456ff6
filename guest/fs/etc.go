package fs

import "strings"

// defaultEtc adds the files that Go's libraries read and the archive lacks.
func (fs *FS) defaultEtc() {
	dir := fs.makePath("etc")
	if dir == fs.root {
		return
	}
	host := fs.Hostname()
	address := fs.host.Address
	if address == "" {
		address = "127.0.1.1"
	}
	for _, f := range [...]struct{ name, text string }{
		{"passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
		{"group", "root:x:0:\nnogroup:x:65534:\n"},
		{"hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n" + address + "\t" + host + "\n"},
		{"hostname", host + "\n"},
		{"nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
		{resolvConf, resolverText(fs.host.DNS, fs.host.Search)},
	} {
		if old, e := dir.look(f.name, true); old != nil || e != 0 {
			continue
		}
		n := fs.newInode(devRoot, S_IFREG|0o644)
		n.data.base, n.data.size = []byte(f.text), int64(len(f.text))
		dir.cover(f.name, n)
		if f.name == resolvConf {
			fs.resolver = n
		}
	}
}

const resolvConf = "resolv.conf"

// resolverText is what resolv.conf(5) says of name servers and of the domains that
// names are looked up in.
func resolverText(servers, domains []string) string {
	var b strings.Builder
	for _, s := range servers {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(domains) > 0 {
		b.WriteString("search " + strings.Join(domains, " ") + "\n")
	}
	return b.String()
}

// SetResolver changes what /etc/resolv.conf says, unless it is the archive's or the
// program has written it.
func (fs *FS) SetResolver(text string) {
	fs.rlockTree()
	n := fs.resolver
	fs.tree.RUnlock()
	if n == nil {
		return
	}
	now := fs.host.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	d := &n.data
	if d.pages > 0 || d.share != nil || d.size != int64(len(d.base)) {
		return
	}
	d.base, d.size = []byte(text), int64(len(text))
	// Package net looks at the time to know whether it has to read again.
	n.mtime, n.ctime = max(now, n.mtime+1), now
}
