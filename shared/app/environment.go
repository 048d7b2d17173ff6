package app

// Variable is one environment variable that the functions read.
type Variable struct {
	Name   string
	Secret bool   // its value must not be shown
	Need   Need   // who has to set it
	Use    string // of one that has to be set: what it holds
}

// Need says where a Variable has to be set.
type Need int

// The needs.
const (
	Optional       Need = iota
	Required            // everywhere
	RequiredOffFC       // everywhere but on Function Compute, which says it by itself
	RequiredLambda      // on Lambda, where no platform gives RAM credentials
	Container           // optional, and read only where a container serves plain HTTP
)

// Variables lists every environment variable that an operator sets, which functions/README.md
// explains; deployment templates are checked against it. The platforms' own variables (FC_*, AWS_*,
// ALIBABA_CLOUD_ACCESS_KEY_ID and its companions) are not listed, nor are the endpoints of
// stand-ins.
func Variables() []Variable {
	return []Variable{
		{Name: "WEBOFFICE_SESSION_KEYS", Secret: true, Need: Required,
			Use: "Comma-separated base64 of 32 bytes each: the first seals tokens, all open them."},
		{Name: "WEBOFFICE_LINK_KEYS", Secret: true},
		{Name: "WEBOFFICE_USER_SALT", Secret: true},
		{Name: "WEBOFFICE_POLICY_FILE"},
		{Name: "WEBOFFICE_PROJECT"},
		{Name: "WEBOFFICE_REGION", Need: RequiredOffFC,
			Use: "The IMM project's region; default FC_REGION."},
		{Name: "WEBOFFICE_IMM_ENDPOINT"},
		{Name: "ALIBABA_CLOUD_ROLE_ARN", Need: RequiredLambda,
			Use: "The RAM role that the AWS role or an OIDC token is exchanged for."},
		{Name: "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", Need: RequiredLambda,
			Use: "The RAM identity provider of that exchange."},
		{Name: "ALIBABA_CLOUD_OIDC_AUDIENCE", Need: RequiredLambda,
			Use: "The audience that the AWS token is asked for and the identity provider expects."},
		{Name: "ALIBABA_CLOUD_OIDC_TOKEN_FILE"},
		{Name: "ALIBABA_CLOUD_ECS_METADATA", Need: Container},
		{Name: "WEBOFFICE_ADDR", Need: Container},
		{Name: "PORT", Need: Container},
		{Name: "WEBOFFICE_TRUSTED_PROXIES", Need: Container},
		{Name: "LOG_LEVEL"},
	}
}
