// Command witness is a gRPC program on grpc-go that serves and calls as it is told, one JSON command a line. The
// protocol is in tests/interop/README.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"

	_ "google.golang.org/grpc/xds"
)

type command struct {
	ID           int               `json:"id"`
	Op           string            `json:"op"`
	Address      string            `json:"address"`
	XDS          *bool             `json:"xds"`
	Version      string            `json:"version"`
	Hostname     string            `json:"hostname"`
	Channel      string            `json:"channel"`
	Target       string            `json:"target"`
	Credentials  string            `json:"credentials"`
	Count        int               `json:"count"`
	Concurrency  int               `json:"concurrency"`
	Qps          *int              `json:"qps"`
	Metadata     map[string]string `json:"metadata"`
	Method       string            `json:"method"`
	TimeoutMs    int               `json:"timeout_ms"`
	IntervalMs   int               `json:"interval_ms"`
	WaitForReady bool              `json:"wait_for_ready"`
}

type answer map[string]any

type witness struct {
	mu      sync.Mutex
	callers map[string]*caller
	servers map[string]server
}

func (w *witness) carryOut(c *command) (answer, error) {
	switch c.Op {
	case "about":
		return about(), nil
	case "serve":
		return w.serve(c)
	case "stop-server":
		w.mu.Lock()
		stopping := w.servers[c.Address]
		delete(w.servers, c.Address)
		w.mu.Unlock()
		if stopping == nil {
			return nil, fmt.Errorf("nothing is served on %s", c.Address)
		}
		stopping.Stop()
		return answer{}, nil
	case "csds":
		return clientStatus()
	case "call", "load", "stop", "close":
		if c.Qps != nil && *c.Qps < 1 {
			return nil, fmt.Errorf("qps %d: no rate; leave it out for none, or give 1 or more", *c.Qps)
		}
		caller, err := w.caller(c)
		if err != nil {
			return nil, err
		}
		switch c.Op {
		case "call":
			return caller.many(c).answer(), nil
		case "load":
			caller.start(c)
			return answer{"started": true}, nil
		case "stop":
			return caller.stop().answer(), nil
		}
		caller.close()
		return answer{}, nil
	}
	return nil, fmt.Errorf("unknown operation %q", c.Op)
}

// caller finds the channel, makes it where calls may make one, and forgets it when it is to be closed.
func (w *witness) caller(c *command) (*caller, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := w.callers[c.Channel]
	switch {
	case found == nil && (c.Op == "call" || c.Op == "load"):
		made, err := newCaller(c.Target, c.Credentials)
		if err != nil {
			return nil, err
		}
		w.callers[c.Channel] = made
		return made, nil
	case found == nil:
		return nil, fmt.Errorf("no channel %q", c.Channel)
	case c.Op == "close":
		delete(w.callers, c.Channel)
	}
	return found, nil
}

func about() answer {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "google.golang.org/grpc" {
				version = strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return answer{"program": "grpc-go", "version": version, "runtime": "Go " + strings.TrimPrefix(runtime.Version(), "go")}
}

func main() {
	w := &witness{callers: map[string]*caller{}, servers: map[string]server{}}
	var out sync.Mutex
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		c := &command{}
		if err := json.Unmarshal(lines.Bytes(), c); err != nil {
			fmt.Fprintf(os.Stderr, "not a command: %v\n", err)
			os.Exit(2)
		}
		go func() {
			a, err := w.carryOut(c)
			if err != nil {
				a = answer{"error": err.Error()}
			}
			a["id"] = c.ID
			text, _ := json.Marshal(a)
			out.Lock()
			defer out.Unlock()
			fmt.Println(string(text))
		}()
	}
}
