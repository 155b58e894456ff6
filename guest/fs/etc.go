package fs

import "strings"

// defaultEtc adds the files that Go's libraries read and the archive lacks.
func (fs *FS) defaultEtc() {
	dir := fs.makePath("etc")
	if dir == fs.root {
		return
	}
	for _, f := range [...]struct{ name, text string }{
		{"passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
		{"group", "root:x:0:\nnogroup:x:65534:\n"},
		{"hosts", fs.hostsText(fs.host.Address)},
		{"hostname", fs.Hostname() + "\n"},
		{"nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
		{"resolv.conf", resolverText(fs.host.DNS, fs.host.Search)},
	} {
		if old, e := dir.look(f.name, true); old != nil || e != 0 {
			continue
		}
		n := fs.newInode(devRoot, S_IFREG|0o644)
		n.data.base, n.data.size = []byte(f.text), int64(len(f.text))
		dir.cover(f.name, n)
		switch f.name {
		case "hosts":
			fs.names.hosts = n
		case "hostname":
			fs.names.hostname = n
		case "resolv.conf":
			fs.names.resolver = n
		}
	}
}

// names are the files that tell of the machine's place in its network, if they were made.
// What they tell changes, and programs learn it when they look.
type names struct{ hosts, hostname, resolver *inode }

// look is before somebody looks at a file.
func (fs *FS) look(n *inode) {
	if s := &fs.names; n != nil && (n == s.resolver || n == s.hosts || n == s.hostname) && fs.host.Resolving != nil {
		fs.host.Resolving()
	}
}

// hostsText is what hosts(5) says of the machine, with an address or "".
func (fs *FS) hostsText(address string) string {
	if address == "" {
		address = "127.0.1.1"
	}
	return "127.0.0.1\tlocalhost\n::1\tlocalhost\n" + address + "\t" + fs.Hostname() + "\n"
}

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
func (fs *FS) SetResolver(text string) { fs.setText(func(s *names) *inode { return s.resolver }, text) }

// SetNetwork does the same with all that tells of the machine's network.
func (fs *FS) SetNetwork(address string, servers, domains []string) {
	fs.setText(func(s *names) *inode { return s.hosts }, fs.hostsText(address))
	fs.setText(func(s *names) *inode { return s.hostname }, fs.Hostname()+"\n")
	fs.SetResolver(resolverText(servers, domains))
}

func (fs *FS) setText(of func(*names) *inode, text string) {
	fs.rlockTree()
	n := of(&fs.names)
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
