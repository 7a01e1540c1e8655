package main

import (
	"context"

	statuspb "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"google.golang.org/grpc/xds/csds"
)

// clientStatus is what this process' xDS clients have, as the admin service would tell it.
func clientStatus() (answer, error) {
	service, err := csds.NewClientStatusDiscoveryServer()
	if err != nil {
		return nil, err
	}
	defer service.Close()
	response, err := service.FetchClientStatus(context.Background(), &statuspb.ClientStatusRequest{})
	if err != nil {
		return nil, err
	}
	resources := []answer{}
	for _, client := range response.GetConfig() {
		for _, resource := range client.GetGenericXdsConfigs() {
			resources = append(resources, answer{
				"type_url": resource.GetTypeUrl(),
				"name":     resource.GetName(),
				"status":   resource.GetClientStatus().String(),
				"version":  resource.GetVersionInfo(),
				// Bytes become base64 in JSON.
				"config_base64": resource.GetXdsConfig().GetValue(),
			})
		}
	}
	return answer{"resources": resources}, nil
}
