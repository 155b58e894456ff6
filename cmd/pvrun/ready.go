package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pvrun/pvrun/hypercall"
)

// readyValue is a flag for the moments at which a program is ready.
type readyValue struct {
	moments hypercall.Ready
	port    int // with ReadyListen
	service int // with ReadyConnect
}

// defaultService is the port where programs find the host when the command line does not
// say: that of AWS Lambda's Runtime API.
const defaultService = 9001

func (v *readyValue) Type() string { return "list" }

func (v *readyValue) String() string {
	var list []string
	for _, m := range readyMoments {
		if v.moments&m.moment != 0 {
			list = append(list, v.withPort(m.moment, m.name))
		}
	}
	return strings.Join(list, ",")
}

// withPort is a moment's text with its port.
func (v *readyValue) withPort(moment hypercall.Ready, text string) string {
	port := v.port
	if moment == hypercall.ReadyConnect {
		port = v.service
	}
	return strings.Replace(text, "PORT", strconv.Itoa(port), 1)
}

// readyMoments are the moments: how they are written, and what a program that did
// not come there has not done.
var readyMoments = []struct {
	moment        hypercall.Ready
	name, lacking string
}{
	{hypercall.ReadyMessage, "message", "it has not asked for a message, as function.Handle does"},
	{hypercall.ReadyListen, "listen:PORT", "it does not listen on TCP port PORT"},
	{hypercall.ReadyConnect, "connect:PORT", "it has not connected to 127.0.0.1:PORT"},
	{hypercall.ReadyCall, "call", "it has not called function.Ready"},
}

func (v *readyValue) Set(text string) error {
	var list readyValue
	for word := range strings.SplitSeq(text, ",") {
		if err := list.add(word); err != nil {
			return err
		}
	}
	*v = list
	return nil
}

func (v *readyValue) add(word string) error {
	name, port, hasPort := strings.Cut(word, ":")
	switch {
	case word == "message":
		v.moments |= hypercall.ReadyMessage
	case word == "call":
		v.moments |= hypercall.ReadyCall
	case name == "listen" && hasPort:
		return v.addPort(word, port, hypercall.ReadyListen, &v.port)
	case name == "connect" && hasPort:
		return v.addPort(word, port, hypercall.ReadyConnect, &v.service)
	case name == "connect":
		return v.addPort(word, strconv.Itoa(defaultService), hypercall.ReadyConnect, &v.service)
	default:
		return fmt.Errorf("%q: must be message, listen:PORT, connect, connect:PORT or call, or several with commas", word)
	}
	return nil
}

// addPort adds a moment with its port, which goes to to.
func (v *readyValue) addPort(word, port string, moment hypercall.Ready, to *int) error {
	if v.moments&moment != 0 {
		return fmt.Errorf("%s: there can be one port only", word)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%s: the port must be from 1 to 65535", word)
	}
	v.moments |= moment
	*to = int(n)
	return nil
}

// lacking says what a program that is not ready has not done.
func (v *readyValue) lacking() string {
	var list []string
	for _, m := range readyMoments {
		if v.moments&m.moment != 0 {
			list = append(list, v.withPort(m.moment, m.lacking))
		}
	}
	return strings.Join(list, ", and ")
}
