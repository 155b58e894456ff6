package main

// pinger passes on echo requests.
type pinger struct{}

func (p *pinger) close()                        {}
func (p *pinger) forget(m *machine)             {}
func (p *pinger) forward(m *machine, ip []byte) {}
