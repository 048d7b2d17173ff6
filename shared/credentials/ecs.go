package credentials

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// ecsRole asks an ECS instance's metadata service for the credentials of its role, with a token of
// the service's own or, where it gives none, in the older way without.
func (v *environment) ecsRole() Source {
	const service = "http://100.100.100.200/latest/"
	isTrue := func(name string) bool { return strings.EqualFold(v.Getenv(name), "true") }
	role := v.need("ALIBABA_CLOUD_ECS_METADATA", noSpaces,
		"give the name of the RAM role that is attached to the instance")
	if isTrue("ALIBABA_CLOUD_ECS_METADATA_DISABLED") {
		v.problem("ALIBABA_CLOUD_ECS_METADATA_DISABLED is true: " +
			"unset it to use the instance's role")
	}
	client := *v.Client
	if own, ok := cmp.Or(client.Transport, http.DefaultTransport).(*http.Transport); ok {
		own = own.Clone()
		own.Proxy = nil // credentials come in clear: not through a proxy of the environment's
		client.Transport = own
	}
	fetch := func(ctx context.Context) (c Credentials, err error) {
		defer func() {
			if err != nil {
				err = unavailable("attach the RAM role that ALIBABA_CLOUD_ECS_METADATA names to "+
					"the instance, and let the function reach the metadata service",
					fmt.Errorf("ECS metadata service: %w", err))
			}
		}()
		started, header := v.Now(), http.Header{"X-Aliyun-Ecs-Metadata-Token-Ttl-Seconds": {"60"}}
		ask := func(method, path string) (*http.Response, []byte, error) {
			return call(ctx, &client, method, service+path, "",
				func(r *http.Request) { r.Header = header })
		}
		_, token, err := ask(http.MethodPut, "api/token")
		header = http.Header{}
		if err == nil {
			header.Set("X-Aliyun-Ecs-Metadata-Token", string(token))
		} else if isTrue("ALIBABA_CLOUD_IMDSV1_DISABLED") {
			return c, fmt.Errorf("its token: %w", err)
		}
		res, body, err := ask(http.MethodGet,
			"meta-data/ram/security-credentials/"+url.PathEscape(role))
		if err != nil {
			return c, err
		}
		c, code, err := parseAnswer(body)
		if err == nil && code != "Success" {
			err = errors.New("an answer that is no success")
		}
		c.Expires = expiry(c.Expires, res.Header.Get("Date"), started)
		return c, err
	}
	return &cache{fetch: fetch, name: "RAM role " + role + " of the ECS instance", now: v.Now,
		log: v.Logger}
}
