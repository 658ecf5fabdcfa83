# Varnish: nothing is done in VCL but what the origin's headers and the path say.
vcl 4.1;
backend origin { .host = "127.0.0.1"; .port = "{origin}"; }
sub vcl_recv { if (req.url ~ "^/n/") { return (pass); } return (hash); }
sub vcl_hash { hash_data(req.url); return (lookup); }
sub vcl_backend_response { return (deliver); }
