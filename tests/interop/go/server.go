package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	xdscreds "google.golang.org/grpc/credentials/xds"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/xds"

	"hermesh.test/interop/echo"
)

// server is what plain and xDS servers have in common.
type server interface {
	grpc.ServiceRegistrar
	Serve(net.Listener) error
	Stop()
}

type echoServer struct {
	echo.UnimplementedEchoTestServiceServer
	version, hostname string
}

func (s *echoServer) Echo(ctx context.Context, _ *echo.EchoRequest) (*echo.EchoResponse, error) {
	lines := []string{"ServiceVersion=" + s.version, "Hostname=" + s.hostname}
	if caller, ok := peer.FromContext(ctx); ok {
		if info, ok := caller.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
			for _, uri := range info.State.PeerCertificates[0].URIs {
				if uri.Scheme == "spiffe" {
					lines = append(lines, "PeerIdentity="+uri.String())
				}
			}
		}
	}
	return &echo.EchoResponse{Message: strings.Join(lines, "\n") + "\n"}, nil
}

func (w *witness) serve(c *command) (answer, error) {
	serving := make(chan error, 64)
	made, err := newServer(c.XDS == nil || *c.XDS, serving)
	if err != nil {
		return nil, err
	}
	echo.RegisterEchoTestServiceServer(made, &echoServer{version: c.Version, hostname: c.Hostname})
	listener, err := net.Listen("tcp", c.Address)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.servers[c.Address] = made
	w.mu.Unlock()
	go made.Serve(listener)
	bound := time.After(time.Duration(or(c.TimeoutMs, 10000)) * time.Millisecond)
	last := fmt.Errorf("no word about the serving mode of %s after %d ms", c.Address, or(c.TimeoutMs, 10000))
	for {
		select {
		case err := <-serving:
			if err == nil {
				return answer{"serving": true}, nil
			}
			last = err
		case <-bound:
			return answer{"serving": false, "error": last.Error()}, nil
		}
	}
}

// newServer makes a server that reports every change of its serving mode; nil means that it serves.
func newServer(managed bool, serving chan<- error) (server, error) {
	if !managed {
		serving <- nil
		return grpc.NewServer(), nil
	}
	chosen, err := xdscreds.NewServerCredentials(xdscreds.ServerOptions{FallbackCreds: insecure.NewCredentials()})
	if err != nil {
		return nil, err
	}
	changed := xds.ServingModeCallback(func(_ net.Addr, change xds.ServingModeChangeArgs) {
		report := change.Err
		if change.Mode == connectivity.ServingModeServing {
			report = nil
		} else if report == nil {
			report = fmt.Errorf("serving mode %v", change.Mode)
		}
		select {
		case serving <- report:
		default:
		}
	})
	return xds.NewGRPCServer(grpc.Creds(chosen), changed)
}
