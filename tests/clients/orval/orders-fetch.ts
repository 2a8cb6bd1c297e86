// What Orval's functions call: it knows where the API is, and reads an answer by its media type.

export interface Options extends RequestInit {
  baseUrl?: string;
}

export async function ordersFetch<Answer>(path: string, { baseUrl = "", ...init }: Options): Promise<Answer> {
  const response = await fetch(baseUrl + path, init);
  return { status: response.status, headers: response.headers, data: await read(response) } as Answer;
}

function read(response: Response): Promise<unknown> {
  const mediaType = response.headers.get("content-type");
  if (mediaType?.startsWith("application/json")) return response.json();
  return response.blob();
}
