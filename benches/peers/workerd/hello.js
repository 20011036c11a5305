// What `examples/hello` does.
export default {
  async fetch(request) {
    const { name } = await request.json();
    return Response.json({ greeting: `Hello, ${name}!` });
  },
};
