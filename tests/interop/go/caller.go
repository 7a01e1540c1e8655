package main

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	xdscreds "google.golang.org/grpc/credentials/xds"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"hermesh.test/interop/echo"
)

const messagesMax = 5

// names are those of google.rpc.Code.
var names = map[codes.Code]string{
	codes.OK: "OK", codes.Canceled: "CANCELLED", codes.Unknown: "UNKNOWN", codes.InvalidArgument: "INVALID_ARGUMENT",
	codes.DeadlineExceeded: "DEADLINE_EXCEEDED", codes.NotFound: "NOT_FOUND", codes.AlreadyExists: "ALREADY_EXISTS",
	codes.PermissionDenied: "PERMISSION_DENIED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION", codes.Aborted: "ABORTED", codes.OutOfRange: "OUT_OF_RANGE",
	codes.Unimplemented: "UNIMPLEMENTED", codes.Internal: "INTERNAL", codes.Unavailable: "UNAVAILABLE",
	codes.DataLoss: "DATA_LOSS", codes.Unauthenticated: "UNAUTHENTICATED",
}

// tally is what became of many calls.
type tally struct {
	mu                          sync.Mutex
	codes, versions, identities map[string]int
	errors                      []string
}

func newTally() *tally {
	return &tally{codes: map[string]int{}, versions: map[string]int{}, identities: map[string]int{}, errors: []string{}}
}

func (t *tally) add(message string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	code := names[status.Code(err)]
	t.codes[code]++
	if err != nil {
		text := code + ": " + status.Convert(err).Message()
		for _, known := range t.errors {
			if known == text {
				return
			}
		}
		if len(t.errors) < messagesMax {
			t.errors = append(t.errors, text)
		}
		return
	}
	for line := range strings.SplitSeq(message, "\n") {
		switch key, value, _ := strings.Cut(line, "="); key {
		case "ServiceVersion":
			t.versions[value]++
		case "PeerIdentity":
			t.identities[value]++
		}
	}
}

func (t *tally) answer() answer {
	return answer{"codes": t.codes, "versions": t.versions, "identities": t.identities, "errors": t.errors}
}

// caller is a channel, with the calls that are made on it.
type caller struct {
	conn *grpc.ClientConn
	load *load
}

type load struct {
	tally *tally
	stop  chan struct{}
	ended chan struct{}
}

func newCaller(target, wanted string) (*caller, error) {
	var chosen credentials.TransportCredentials = insecure.NewCredentials()
	if wanted != "insecure" {
		managed, err := xdscreds.NewClientCredentials(xdscreds.ClientOptions{FallbackCreds: chosen})
		if err != nil {
			return nil, err
		}
		chosen = managed
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(chosen))
	if err != nil {
		return nil, err
	}
	return &caller{conn: conn}, nil
}

func (c *caller) one(want *command, t *tally) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(or(want.TimeoutMs, 5000))*time.Millisecond)
	defer cancel()
	for key, value := range want.Metadata {
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	method := want.Method
	if method == "" {
		method = echo.EchoTestService_Echo_FullMethodName
	}
	response := &echo.EchoResponse{}
	request := &echo.EchoRequest{Message: "hello"}
	err := c.conn.Invoke(ctx, method, request, response, grpc.WaitForReady(want.WaitForReady))
	t.add(response.GetMessage(), err)
}

func (c *caller) many(want *command) *tally {
	t := newTally()
	count, begun := int64(or(want.Count, 1)), time.Now()
	var next atomic.Int64
	var workers sync.WaitGroup
	for range or(want.Concurrency, 1) {
		workers.Go(func() {
			for index := next.Add(1) - 1; index < count; index = next.Add(1) - 1 {
				if want.Qps != nil {
					time.Sleep(time.Until(begun.Add(time.Duration(index) * time.Second / time.Duration(*want.Qps))))
				}
				c.one(want, t)
			}
		})
	}
	workers.Wait()
	return t
}

func (c *caller) start(want *command) {
	running := &load{tally: newTally(), stop: make(chan struct{}), ended: make(chan struct{})}
	c.load = running
	go func() {
		defer close(running.ended)
		interval := time.Duration(or(want.IntervalMs, 10)) * time.Millisecond
		due := time.Now()
		for {
			c.one(want, running.tally)
			if due = due.Add(interval); due.Before(time.Now()) {
				due = time.Now()
			}
			select {
			case <-running.stop:
				return
			case <-time.After(time.Until(due)):
			}
		}
	}()
}

func (c *caller) stop() *tally {
	running := c.load
	c.load = nil
	close(running.stop)
	<-running.ended
	return running.tally
}

func (c *caller) close() {
	if c.load != nil {
		c.stop()
	}
	c.conn.Close()
}

func or(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}
