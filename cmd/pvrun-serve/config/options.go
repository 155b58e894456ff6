package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/pvrun/pvrun/cmd/pvrun-serve/boot"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/pool"
	"github.com/pvrun/pvrun/cmd/pvrun-serve/worker"
	"github.com/pvrun/pvrun/hv"
	"github.com/pvrun/pvrun/internal/network"
)

// Isolations: which clone gets the next message.
const (
	byInvocation = "invocation" // one that is as it was made
	byInstance   = "instance"   // one that has answered others
)

// pick is the last of several options that is said.
func pick[T any](list []Options, v T, of func(*Options) *T) T {
	for i := range list {
		v = value(v, of(&list[i]))
	}
	return v
}

// contracts are what contract may be: which a program may follow.
var contracts = map[string][]pool.Contract{
	"auto":    nil,
	"message": {pool.Message},
	"http":    {pool.HTTP},
	"lambda":  {pool.Lambda},
}

func program(name, image string, o []Options) (boot.Program, error) {
	p := boot.Program{
		Name:   name,
		From:   image,
		Memory: int64(pick(o, Size(hv.DefaultMemory), func(o *Options) *Size { return o.Memory })),
		Within: pick(o, readyTimeout, func(o *Options) *time.Duration { return o.ReadyTimeout }),
	}
	env := map[string]string{}
	for _, o := range o {
		maps.Copy(env, o.Env)
		if o.Args != nil {
			p.Args = o.Args
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		p.Env = append(p.Env, name+"="+env[name])
	}
	contract := pick(o, "auto", func(o *Options) *string { return o.Contract })
	list, known := contracts[contract]
	if !known {
		return p, fmt.Errorf("contract %q: must be auto, message, http or lambda", contract)
	}
	var err error
	if p.Network, err = networkName(pick(o, "none", func(o *Options) *string { return o.Network })); err != nil {
		return p, err
	}
	p.Contracts, p.Port = list, pick(o, boot.DefaultPort, func(o *Options) *int { return o.Port })
	if p.Port < 1 || p.Port > 0xffff {
		return p, fmt.Errorf("port %d: must be from 1 to 65535", p.Port)
	}
	return p, nil
}

// When clones live in processes of their own.
const (
	auto   = "auto" // if there may be more than one of them holds
	always = "always"
	never  = "never"
)

func workers(o []Options, contracts []pool.Contract, most int) (bool, error) {
	messages := len(contracts) == 1 && contracts[0] == pool.Message // and so may have some
	when := pick(o, auto, func(o *Options) *string { return o.Workers })
	switch {
	case when != auto && when != always && when != never:
		return false, fmt.Errorf("workers %q: must be auto, always or never", when)
	case most > maxHere && (when == never || !messages):
		return false, fmt.Errorf("max %d: more than %d need workers, and contract message", most, maxHere)
	}
	return when == always || when == auto && most > worker.PerWorker, nil
}

// networkName is the name that a network has with pvrun-net: user is one that this server
// alone is on.
func networkName(s string) (string, error) {
	switch s {
	case "none":
		return "", nil
	case "user":
		return fmt.Sprint("pvrun-serve-", os.Getpid()), nil
	}
	if _, err := network.ParseTarget("user:" + s); err != nil {
		return "", fmt.Errorf("network %q: must be none, user or a name of letters, digits, - _ and ., 40 at the most", s)
	}
	return s, nil
}

func (c *Config) limits(o []Options) (l pool.Limits, err error) {
	isolation := pick(o, byInvocation, func(o *Options) *string { return o.Isolation })
	l = pool.Limits{
		Reuse:   isolation == byInstance,
		Fresh:   pick(o, false, func(o *Options) *bool { return o.Fresh }),
		Timeout: pick(o, timeout, func(o *Options) *time.Duration { return o.Timeout }),
		Min:     pick(o, 0, func(o *Options) *int { return o.Min }),
		Max:     pick(o, c.Running+1, func(o *Options) *int { return o.Max }),
		Queue:   pick(o, queue, func(o *Options) *int { return o.Queue }),
		Idle:    pick(o, idle, func(o *Options) *time.Duration { return o.Idle }),
		Grace:   c.Drain,

		Concurrency: pick(o, 1, func(o *Options) *int { return o.Concurrency }),
	}
	switch {
	case isolation != byInvocation && isolation != byInstance:
		err = fmt.Errorf("isolation %q: must be invocation or instance", isolation)
	case l.Fresh && l.Reuse:
		err = errors.New("fresh and isolation instance: a new clone is no reused one")
	case l.Concurrency < 1 || l.Concurrency > maxConcurrency:
		err = fmt.Errorf("concurrency %d: must be from 1 to %d", l.Concurrency, maxConcurrency)
	case l.Concurrency > 1 && !l.Reuse:
		err = fmt.Errorf("concurrency %d: needs isolation instance", l.Concurrency)
	case l.Timeout < 0 || l.Idle < 0:
		err = errors.New("timeout and idle must not be negative")
	case l.Max < 1 || l.Max > maxClones:
		err = fmt.Errorf("max %d: must be from 1 to %d", l.Max, maxClones)
	case l.Min < 0 || l.Min > l.Max:
		err = fmt.Errorf("min %d: must be from 0 to max, %d", l.Min, l.Max)
	case l.Queue < 0 || l.Queue > maxQueue:
		err = fmt.Errorf("queue %d: must be from 0 to %d", l.Queue, maxQueue)
	}
	return l, err
}
