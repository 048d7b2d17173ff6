package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weboffice-functions/shared/broker"
)

const origin = "https://docs.example.com"

// Pages of exactly the policy's origins may call, and read what they get.
func TestOtherOriginsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		origins []string
		site    []string // Sec-Fetch-Site
		status  int
	}{
		"the policy's":             {[]string{origin}, []string{"cross-site"}, 200},
		"another":                  {[]string{"https://evil.example"}, nil, 403},
		"another port":             {[]string{origin + ":8443"}, nil, 403},
		"another scheme":           {[]string{"http://docs.example.com"}, nil, 403},
		"a name that ends alike":   {[]string{"https://evil-docs.example.com"}, nil, 403},
		"a name that begins so":    {[]string{origin + ".evil.example"}, nil, 403},
		"other case":               {[]string{"https://DOCS.example.com"}, nil, 403},
		"a slash behind":           {[]string{origin + "/"}, nil, 403},
		"the default port":         {[]string{origin + ":443"}, nil, 403},
		"a dot behind":             {[]string{origin + "."}, nil, 403},
		"the scheme in capitals":   {[]string{"HTTPS://docs.example.com"}, nil, 403},
		"a star":                   {[]string{"*"}, nil, 403},
		"a sandboxed frame":        {[]string{"null"}, nil, 403},
		"an empty one":             {[]string{""}, nil, 403},
		"two":                      {[]string{origin, "https://evil.example"}, nil, 403},
		"another before it":        {[]string{"https://evil.example", origin}, nil, 403},
		"the same twice":           {[]string{origin, origin}, nil, 403},
		"no browser":               {nil, nil, 200},
		"a page of the function's": {nil, []string{"same-origin"}, 200},
		"another site's image":     {nil, []string{"cross-site"}, 403},
		"a sister site's image":    {nil, []string{"same-site"}, 403},
		"the address bar":          {nil, []string{"none"}, 403},
		"two sites":                {nil, []string{"same-origin", "cross-site"}, 403},
		"two sites in one line":    {nil, []string{"same-origin, cross-site"}, 403},
		"an empty site":            {nil, []string{""}, 403},
	} {
		for _, method := range []string{http.MethodPost, http.MethodOptions} {
			reached := false
			e := using(t, func(broker.Visitor, string) error { reached = true; return nil })
			r := post(nil)
			r.Method = method
			r.Header["Origin"], r.Header["Sec-Fetch-Site"] = c.origins, c.site
			w := e.serve(r)
			status, allowed := c.status, ""
			if status == 200 && len(c.origins) == 1 {
				allowed = origin
			}
			if status == 200 && method == http.MethodOptions {
				status = 204
			}
			header := w.Header()
			if w.Code != status || header.Get("Access-Control-Allow-Origin") != allowed ||
				header.Get("Vary") != "Origin" || header.Get("Cache-Control") != "no-store" ||
				reached != (status == 200) ||
				header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s %s: %d %v", method, name, w.Code, header)
			}
			if status == 204 && (w.Body.Len() != 0 ||
				!strings.Contains(e.log.String(), "level=DEBUG") ||
				header.Get("Access-Control-Allow-Methods") != "POST, GET, OPTIONS" ||
				header.Get("Access-Control-Allow-Headers") != "Authorization, Content-Type" ||
				header.Get("Access-Control-Max-Age") != "86400") { // for it costs an invocation
				t.Errorf("%s: %v, logged %s", name, header, &e.log)
			}
		}
	}
}

func TestMethodsAndMediaTypes(t *testing.T) {
	json, form := "application/json", "application/x-www-form-urlencoded"
	for name, c := range map[string]struct {
		method, target, media, proof string
		quickStart                   bool
		status                       int
	}{
		"POST":                  {"POST", "/", json, "", false, 200},
		"any path":              {"POST", "/a/b%2Fc", json, "", false, 200},
		"with a charset":        {"POST", "/", json + "; charset=utf-8", "", false, 200},
		"in capitals":           {"POST", "/", "Application/JSON", "", false, 200},
		"a form":                {"POST", "/", form, "", false, 415},
		"text":                  {"POST", "/", "text/plain", "", false, 415},
		"one that is alike":     {"POST", "/", "application/json-patch+json", "", false, 415},
		"a form with files":     {"POST", "/", "multipart/form-data; boundary=x", "", false, 415},
		"two media types":       {"POST", "/", json + ", text/plain", "", false, 415},
		"no media type":         {"POST", "/", "", "", false, 415},
		"nonsense":              {"POST", "/", "application/json;;", "", false, 415},
		"a query":               {"POST", "/?SourceURI=x", json, "", false, 400},
		"GET":                   {"GET", "/?SourceURI=x", "", "", false, 405},
		"GET of a quick start":  {"GET", "/?SourceURI=x", "", "", true, 200},
		"GET with a proof":      {"GET", "/?SourceURI=x", "", linkProof(t), true, 405},
		"a query that is none":  {"GET", "/?%zz", "", "", true, 400},
		"POST in small letters": {"post", "/", json, "", false, 405},
		"GET in small letters":  {"get", "/?SourceURI=x", "", "", true, 405},
		"PUT":                   {"PUT", "/", json, "", true, 405},
		"HEAD":                  {"HEAD", "/", "", "", true, 405},
		"another method":        {"BREW", "/", json, "", false, 405},
	} {
		e := failing(t, nil)
		e.Edge.QuickStart = c.quickStart
		r := httptest.NewRequest(c.method, c.target, strings.NewReader("{}"))
		r.Header.Set("Content-Type", c.media)
		if c.proof != "" {
			r.Header.Set("Authorization", "Bearer "+c.proof)
		}
		w := e.serve(r)
		allow := ""
		switch {
		case c.status == 405 && c.quickStart && c.proof == "":
			allow = "POST, GET, OPTIONS"
		case c.status == 405:
			allow = "POST, OPTIONS"
		}
		if w.Code != c.status || w.Header().Get("Allow") != allow {
			t.Errorf("%s: %d %s %v", name, w.Code, w.Body, w.Header())
		}
	}
}
