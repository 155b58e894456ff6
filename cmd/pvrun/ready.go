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
}

func (v *readyValue) Type() string { return "list" }

func (v *readyValue) String() string {
	var list []string
	for _, m := range readyMoments {
		if v.moments&m.moment != 0 {
			list = append(list, m.name)
		}
	}
	return strings.Replace(strings.Join(list, ","), "PORT", strconv.Itoa(v.port), 1)
}

// readyMoments are the moments: how they are written, and what a program that did
// not come there has not done.
var readyMoments = []struct {
	moment        hypercall.Ready
	name, lacking string
}{
	{hypercall.ReadyMessage, "message", "it has not asked for a message, as function.Handle does"},
	{hypercall.ReadyListen, "listen:PORT", "it does not listen on TCP port PORT"},
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
	case name == "listen" && hasPort && v.moments&hypercall.ReadyListen != 0:
		return fmt.Errorf("%s: there can be one port only", word)
	case name == "listen" && hasPort:
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("%s: the port must be from 1 to 65535", word)
		}
		v.moments |= hypercall.ReadyListen
		v.port = int(n)
	default:
		return fmt.Errorf("%q: must be message, listen:PORT or call, or several with commas", word)
	}
	return nil
}

// lacking says what a program that is not ready has not done.
func (v *readyValue) lacking() string {
	var list []string
	for _, m := range readyMoments {
		if v.moments&m.moment != 0 {
			list = append(list, strings.Replace(m.lacking, "PORT", strconv.Itoa(v.port), 1))
		}
	}
	return strings.Join(list, ", and ")
}
