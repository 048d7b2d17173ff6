// Package generate is the function that gives a page the right to open one document. It takes the
// parameters of GenerateWebofficeToken in any of the vendor's spellings and answers with Generate's
// own fields, Timeout and Permission. What may be opened by whom stands in the policy;
// shared/broker does the work, shared/httpapi the HTTP.
package generate

import (
	"net/http"
	"net/url"

	"weboffice-functions/shared/app"
	"weboffice-functions/shared/httpapi"
	"weboffice-functions/shared/weboffice"
)

// New returns the function's handler.
func New(a *app.App) http.Handler {
	return httpapi.Endpoint[weboffice.Request]{
		Edge: a.Edge, Name: "generate", Decode: weboffice.ParseRequest, DecodeQuery: fromQuery,
		Use: a.Broker.Generate,
	}
}

// fromQuery reads the query of a page built on the vendor's quick start. A password would stand in
// the gateway's log.
func fromQuery(query url.Values) (weboffice.Request, error) {
	request, err := weboffice.ParseQuery(query)
	if err == nil && request.Password != "" {
		return weboffice.Request{}, weboffice.ErrPasswordInURL.New()
	}
	return request, err
}
